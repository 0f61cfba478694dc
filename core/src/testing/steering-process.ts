/** A Node process in the thread's own namespace that steers until it is killed: for tests of what it leaves behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export class SteeringProcess implements AsyncDisposable {
  readonly #ended: Promise<unknown>;
  readonly #child;

  /** @param script prints a line when it steers. */
  constructor(script: URL, argv: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = spawn(process.execPath, ['--conditions=source', fileURLToPath(script), ...argv], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    });
    this.#ended = once(this.#child, 'exit');
  }

  /** Resolves when it steers. @throws Error when it ends before. */
  async ready(): Promise<this> {
    const gone = this.#ended.then(() => {
      throw new Error(`the process ended with ${this.#child.exitCode ?? this.#child.signalCode} before it steered`);
    });
    await Promise.race([once(this.#child.stdout, 'data'), gone]);
    gone.catch(() => undefined);
    return this;
  }

  /** By SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
