/**
 * Having the queries of the host captured, as one change of it. The rows are the interceptor's; what stays behind when Weir
 * is killed is only what systemd-resolved remembers, and that is told by a file.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostChange } from '../api/host.ts';
import { flushResolved } from './resolved.ts';

export const CAPTURED_QUERIES_ID = 'captured queries of the host';

/** Says that systemd-resolved may remember addresses that Weir gave. */
const markPath = (stateDirectory: string): string => join(stateDirectory, 'resolved.remembers');

export interface CapturedQueries {
  readonly stateDirectory: string;
  readonly servers: readonly string[];
  /** Whether systemd-resolved asks these servers, and remembers what they say. */
  readonly viaResolved: boolean;
  /** Captures port 53 of these servers and of no others. */
  readonly steer: (servers: readonly string[]) => Promise<void>;
}

export function capturedQueriesChange({ stateDirectory, servers, viaResolved, steer }: CapturedQueries): HostChange {
  return {
    id: CAPTURED_QUERIES_ID,
    describe: `capture port 53 of ${servers.join(', ')}`,
    async do() {
      if (viaResolved) {
        mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
        writeFileSync(markPath(stateDirectory), '');
      }
      await steer(servers);
      // What it remembers was said by others.
      if (viaResolved) await flushResolved();
    },
    async undo() {
      await steer([]);
      if (viaResolved) await forgetCapturedQueries(stateDirectory);
    },
  };
}

/** Has systemd-resolved forget what Weir said, where a run has left that to do. The rows must be gone by then. */
export async function forgetCapturedQueries(stateDirectory: string): Promise<readonly string[]> {
  const mark = markPath(stateDirectory);
  if (!existsSync(mark)) return [];
  await flushResolved();
  rmSync(mark, { force: true });
  return ['had systemd-resolved forget what Weir had answered'];
}
