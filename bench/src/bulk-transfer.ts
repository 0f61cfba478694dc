/** Bulk between peers/bulk-client.ts and peers/bulk-origin.ts. The sender uses sendfile, so that it is not the bottleneck. */
import type { Stage } from './load.ts';
import { runScript } from './script.ts';

export interface Bulk {
  readonly streams: number;
  /** From the server to the client. */
  readonly down: boolean;
  readonly seconds: number;
}

/** @returns what was received, and the client's CPU seconds. @throws Error when a stream breaks. */
export async function bulkBytes(
  { task }: Pick<Stage, 'task'>,
  { streams, down, seconds }: Bulk,
): Promise<{ readonly bytes: number; readonly gigabits: number; readonly cpu: number }> {
  const { address, port } = task.bulk;
  const args = [address, port, down ? 'down' : 'up', streams, seconds * 1000];
  const moved = await runScript<{ bytes: number; seconds: number; cpu: number }>(task, 'bulk-client', args, seconds);
  return { ...moved, gigabits: (moved.bytes * 8) / moved.seconds / 1e9 };
}
