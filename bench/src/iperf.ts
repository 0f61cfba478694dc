/** iperf3 as a load generator. The sender uses sendfile, so that it is not the bottleneck. */
import { missingFor } from '@weir/core/testing';
import type { Stage } from './load.ts';

interface Iperf {
  readonly error?: string;
  readonly end?: { readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number } };
}

export const iperfMissing = (): string | undefined => missingFor('iperf3');

export interface Bulk {
  readonly streams: number;
  /** From the server to the client. */
  readonly down: boolean;
  readonly seconds: number;
}

/** @returns what was received. @throws Error when iperf3 fails. */
export async function iperf(stage: Stage, bulk: Bulk): Promise<{ readonly bytes: number; readonly gigabits: number }> {
  const { address, port } = stage.iperf;
  const { streams, down, seconds } = bulk;
  const argv = ['iperf3', '-J', '-Z', '-c', address, '-p', String(port), '-t', String(seconds)];
  if (streams > 1) argv.push('-P', String(streams));
  if (down) argv.push('-R');
  for (let attempt = 1; ; attempt++) {
    const { stdout, stderr } = await stage.task.client.run(argv, { timeoutMs: 20_000 + seconds * 1000 });
    const report = JSON.parse(stdout) as Iperf;
    const received = report.end?.sum_received;
    if (report.error === undefined && received !== undefined) {
      return { bytes: received.bytes, gigabits: received.bits_per_second / 1e9 };
    }
    // The server takes one test at a time and needs a moment after the last one.
    if (attempt === 20 || !/busy/.test(report.error ?? '')) throw new Error(`iperf3: ${report.error ?? stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
