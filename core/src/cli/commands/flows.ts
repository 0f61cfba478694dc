/** `weir flows`: the living flows, the last ended ones, or each flow as it ends. */
import { MAX_FLOWS } from '../../admin/protocol.ts';
import { UsageError } from '../../api/errors.ts';
import type { FlowRecord } from '../../api/flow.ts';
import { type CommandContext, paint, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { flowLine, flowTable } from '../flow-table.ts';
import { runningInstance, type RunningOptions } from '../running.ts';

export interface FlowsOptions extends RunningOptions {
  readonly follow?: boolean;
  readonly recent?: boolean;
  readonly limit?: string;
}

function limitOf(text: string | undefined): number {
  if (text === undefined) return 100;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= MAX_FLOWS) return limit;
  throw new UsageError({
    problem: `--limit ${text} is out of range.`,
    remedy: `Give a number from 1 to ${MAX_FLOWS}.`,
  });
}

async function follow(context: CommandContext, options: FlowsOptions): Promise<number> {
  const { stdout, stderr } = context;
  const abort = new AbortController();
  const undo = (['SIGINT', 'SIGTERM'] as const).map((signal) => context.onSignal(signal, () => abort.abort()));
  try {
    for await (const line of runningInstance(context, options).follow(abort.signal)) {
      // One object per line, whoever reads: --json of a stream is never spread over lines.
      if (options.json === true) stdout.write(`${JSON.stringify(line)}\n`);
      else if ('lost' in line) stderr.write(paint(stderr, 'yellow', `… ${line.lost} flows were left out\n`));
      else stdout.write(`${flowLine(line)}\n`);
    }
  } finally {
    for (const off of undo) off();
  }
  return EXIT.done;
}

export async function flows(context: CommandContext, options: FlowsOptions): Promise<number> {
  const limit = limitOf(options.limit);
  if (options.follow === true) return follow(context, options);
  const client = runningInstance(context, options);
  const found: readonly FlowRecord[] = await (options.recent === true
    ? client.recentFlows(limit)
    : client.flows(limit));
  if (options.json === true) writeJson(context.stdout, found);
  else if (found.length === 0) {
    context.stdout.write(options.recent === true ? 'no flow has ended yet\n' : 'no flow is open\n');
  } else context.stdout.write(flowTable(context.stdout, found));
  return EXIT.done;
}
