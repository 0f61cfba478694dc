/** wrk as a load generator: one thread, so that it needs no more than one processor. */
import { missingFor } from '@weir/core/testing';
import { fileURLToPath } from 'node:url';
import type { Stage } from './load.ts';
import { reportIn } from './script.ts';

const REPORT = fileURLToPath(new URL('./peers/wrk-report.lua', import.meta.url));

export interface WrkReport {
  readonly requests: number;
  /** Read by the client, headers included. */
  readonly bytes: number;
  readonly microseconds: number;
  /** Connections that could not be made, reads and writes that failed, requests that timed out. */
  readonly failed: number;
  /** Responses that were no success. */
  readonly status: number;
  /** Latencies in microseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

export const wrkMissing = (): string | undefined => missingFor('wrk');

/** @throws Error when a request fails: a rate with failures in it is none. */
export async function wrk(stage: Stage, path: string, connections: number): Promise<WrkReport> {
  const { address, port } = stage.task.http;
  const output = await stage.task.client.check(
    ['wrk', '-t1', `-c${connections}`, `-d${stage.seconds}s`, '-s', REPORT, `http://${address}:${port}${path}`],
    { timeoutMs: 20_000 + stage.seconds * 1000 },
  );
  const report = reportIn<WrkReport>(output);
  if (report.failed + report.status > 0) {
    throw new Error(`wrk: ${report.failed} requests failed and ${report.status} were refused of ${report.requests}`);
  }
  return report;
}
