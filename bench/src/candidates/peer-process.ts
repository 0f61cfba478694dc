/** A peer as one process in its client host: started, awaited until it listens, ended. */
import { missingFor, type HostProcess } from '@weir/core/testing';
import type { RunningCandidate, Task } from '../candidate.ts';
import { carriedByHost } from './host-counters.ts';
import { PEER_UID } from './steering.ts';

/** What is missing when a peer's own connections are told apart by the user that it runs as. */
export function missingUser(): string | undefined {
  const root = missingFor('root');
  return root && `its own connections are told apart by the user it runs as, and a second one needs root: ${root}`;
}

/** A command line that runs as {@link PEER_UID}. */
export const asPeer = (argv: readonly string[]): readonly string[] => [
  'setpriv',
  `--reuid=${PEER_UID}`,
  `--regid=${PEER_UID}`,
  '--clear-groups',
  ...argv,
];

/** @throws Error with the peer's output when nothing listens on the port within two seconds. */
export async function untilListening(task: Task, process: HostProcess, port: number): Promise<void> {
  const wait = 'for i in $(seq 200); do ss -Hlnt "sport = :$1" | grep -q . && exit 0; sleep 0.01; done; exit 1';
  await task.client.check(['sh', '-c', wait, 'sh', String(port)]).catch((error: unknown) => {
    throw new Error(`${process.argv.join(' ')} did not start: ${process.describe()}`, { cause: error });
  });
}

/** A running peer that tells nothing about itself. */
export function runningPeer(task: Task, process: HostProcess): RunningCandidate {
  return {
    pids: [process.pid],
    carried: async () => carriedByHost(task.client),
    async stop() {
      process.kill('SIGTERM');
      await process.waitForExit();
    },
  };
}
