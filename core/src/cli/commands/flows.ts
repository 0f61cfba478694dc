/** `weir flows`: the living flows, the last ended ones, or each flow as it ends. */
import type { FlowRecord } from '../../api/flow.ts';
import { type CommandContext, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { flowLine, flowTable } from '../flow-table.ts';
import { limitOf, noteLimit, printStream } from '../listing.ts';
import { runningInstance, type RunningOptions } from '../running.ts';

export interface FlowsOptions extends RunningOptions {
  readonly follow?: boolean;
  readonly recent?: boolean;
  readonly limit?: string;
}

function follow(context: CommandContext, options: FlowsOptions): Promise<number> {
  const stream = (signal: AbortSignal) => runningInstance(context, options).follow(signal);
  return printStream(context, stream, 'flows', options.json === true ? undefined : (flow) => `${flowLine(flow)}\n`);
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
  noteLimit(context, found, limit, 'flows');
  return EXIT.done;
}
