/**
 * The keeper: a shell that waits on a pipe whose other end only Weir holds. When Weir stops in order it says so and the
 * shell ends. When Weir dies, however it dies, the read fails and the shell becomes `weir cleanup --owner …`. It waits as
 * a shell and not as Node because it should cost one megabyte and no time.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { openSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import { HostChangeError } from '../api/errors.ts';

export interface Keeper {
  readonly pid: number;
  /** Tells the keeper that all is in order; resolves when it has ended. */
  dismiss(): Promise<void>;
}

/**
 * Starts the keeper in a session of its own, so that a terminal's signals do not reach it.
 * @param command argv of the clean-up, e.g. `[node, weir.js, cleanup, --owner, default, --keeper]`.
 * @throws HostChangeError when it cannot be started: without a keeper Weir does not change the host.
 */
export async function startKeeper(command: readonly string[], directory: string): Promise<Keeper> {
  const log = openSync(join(directory, 'keeper.log'), 'a', 0o600);
  let child: ChildProcess;
  try {
    child = spawn('/bin/sh', ['-c', 'read -r word && exit 0; exec "$@"', 'weir-keeper', ...command], {
      stdio: ['pipe', log, log],
      detached: true,
      env: cleanEnvironment(),
    });
    await once(child, 'spawn');
  } catch (error) {
    throw new HostChangeError({
      problem: 'The keeper process, which cleans up when Weir is killed, could not be started.',
      remedy: 'Make sure that /bin/sh exists and that this user may start processes.',
      cause: error,
    });
  } finally {
    closeSync(log);
  }
  child.unref();
  const stdin = child.stdin as NonNullable<ChildProcess['stdin']>;
  // A keeper that someone killed must not take Weir down with EPIPE.
  stdin.on('error', () => undefined);
  (stdin as unknown as { unref(): void }).unref();
  return {
    pid: child.pid as number,
    async dismiss() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.ref();
      const ended = once(child, 'exit');
      stdin.end('stop\n');
      await ended;
    },
  };
}

/** The keeper's clean-up must not die of the fault that was injected into its parent. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const { WEIR_KILL_AT: _kill, WEIR_FAIL_AT: _fail, ...rest } = process.env;
  return rest;
}
