/** A process inside a private host: what it printed, how it ended, and the way to end it. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';

export interface Exit {
  /** `undefined` when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

/** Output beyond this many characters of one stream is dropped from the front. */
const OUTPUT_LIMIT = 16 * 1024 * 1024;

export class HostProcess implements AsyncDisposable {
  readonly argv: readonly string[];
  /** The program's own pid in the test's pid namespace. */
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #watchers = new Set<() => void>();
  #stdout = '';
  #stderr = '';
  #exit: Exit | undefined;

  /** @throws Error when the process could not be started at all. */
  constructor(argv: readonly string[], child: ChildProcessWithoutNullStreams) {
    if (child.pid === undefined) throw new Error(`could not start ${argv.join(' ')}`);
    this.argv = argv;
    this.pid = child.pid;
    this.#child = child;
    child.stdin.on('error', () => {}); // EPIPE: the program does not read; its exit code is what counts
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-OUTPUT_LIMIT);
      this.#notify();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-OUTPUT_LIMIT);
      this.#notify();
    });
    this.exited = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        this.#exit = { code: code ?? undefined, signal: signal ?? undefined };
        this.#notify();
        resolve(this.#exit);
      });
    });
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** How it ended, once it has. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  get stdin(): NodeJS.WritableStream {
    return this.#child.stdin;
  }

  /** False when it had already ended. */
  kill(signal: NodeJS.Signals = 'SIGTERM'): boolean {
    return this.#exit === undefined && this.#child.kill(signal);
  }

  /**
   * Resolves with the match as soon as standard output or standard error contains it.
   * @throws Error with both outputs when the process ends or `timeoutMs` passes before that.
   */
  async waitFor(pattern: RegExp, timeoutMs = 15_000): Promise<RegExpExecArray> {
    const look = () => pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = look();
      if (found) return found;
      if (this.#exit) throw new Error(`${this.argv.join(' ')} ended before ${pattern}: ${this.describe()}`);
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`${this.argv.join(' ')} did not print ${pattern}: ${this.describe()}`);
      await this.#change(left);
    }
  }

  /**
   * Resolves when standard output has `count` lines that begin with `text`. Counting is left out of patterns, because a
   * repeated group that may skip anything tries every subset of the lines it finds before it says no.
   * @throws as `waitFor`.
   */
  async waitForLines(text: string, count: number, timeoutMs = 15_000): Promise<void> {
    const seen = () => this.#stdout.split('\n').filter((line) => line.startsWith(text)).length;
    const deadline = Date.now() + timeoutMs;
    while (seen() < count) {
      const left = deadline - Date.now();
      if (this.#exit || left <= 0) {
        const how = this.#exit ? 'ended before it printed' : 'did not print';
        throw new Error(`${this.argv.join(' ')} ${how} "${text}" ${count} times: ${this.describe()}`);
      }
      await this.#change(left);
    }
  }

  /** Resolves with the exit; ends the process by SIGKILL and throws when it is not gone after `timeoutMs`. */
  async waitForExit(timeoutMs = 15_000): Promise<Exit> {
    const late = Symbol('late');
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<typeof late>((resolve) => {
      timer = setTimeout(() => resolve(late), timeoutMs);
    });
    const outcome = await Promise.race([this.exited, timeout]);
    clearTimeout(timer);
    if (outcome !== late) return outcome;
    this.kill('SIGKILL');
    await this.exited;
    throw new Error(`${this.argv.join(' ')} was still running after ${timeoutMs} ms: ${this.describe()}`);
  }

  describe(): string {
    const exit = this.#exit ? `exit ${this.#exit.code ?? this.#exit.signal}` : 'running';
    return `${exit}\n--- stdout\n${this.#stdout}\n--- stderr\n${this.#stderr}`;
  }

  /** Ends it: SIGTERM, and SIGKILL when that is not enough within two seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#exit) return;
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), 2000);
    await this.exited;
    clearTimeout(timer);
  }

  #notify(): void {
    for (const watcher of this.#watchers) watcher();
  }

  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#watchers.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#watchers.add(done);
    });
  }
}
