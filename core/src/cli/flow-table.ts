/** Flows for people: one line each. */
import type { FlowRecord } from '../api/flow.ts';
import type { Output } from './context.ts';
import { type Column, table } from './table.ts';
import { bytesText, clockText, durationText, endpointText } from './units.ts';

const COLUMNS: readonly Column[] = [
  { title: 'STARTED' },
  { title: 'SOURCE' },
  { title: 'ORIGINAL' },
  { title: 'NAME' },
  { title: 'SERVICE' },
  { title: 'DIALER' },
  { title: 'UPSTREAM' },
  { title: 'RELAY' },
  { title: 'UP', align: 'right' },
  { title: 'DOWN', align: 'right' },
  { title: 'TIME', align: 'right' },
  { title: 'OUTCOME' },
];

function cells(flow: FlowRecord): readonly string[] {
  return [
    clockText(flow.startedAt),
    endpointText(flow.source),
    endpointText(flow.original),
    flow.name ?? '-',
    flow.service ?? '-',
    flow.dialer ?? '-',
    endpointText(flow.upstream),
    flow.relay,
    bytesText(flow.bytesUp),
    bytesText(flow.bytesDown),
    durationText(flow.durationMs),
    flow.outcome ?? 'open',
  ];
}

export function flowTable(output: Output, flows: readonly FlowRecord[]): string {
  return table(output, COLUMNS, flows.map(cells));
}

/** One flow as a line of its own, for output that goes on: no columns, since what comes next is not known. */
export function flowLine(flow: FlowRecord): string {
  const to = flow.name === undefined ? '' : ` (${flow.name})`;
  const by = [flow.service, flow.dialer].filter((word) => word !== undefined).join(' by ');
  return [
    clockText(flow.startedAt),
    `${flow.protocol} ${endpointText(flow.source)} -> ${endpointText(flow.original)}${to}`,
    by === '' ? 'no service' : by,
    flow.upstream === undefined ? 'not connected' : `to ${endpointText(flow.upstream)}`,
    `${flow.relay}, ${bytesText(flow.bytesUp)} up, ${bytesText(flow.bytesDown)} down, ${durationText(flow.durationMs)}`,
    flow.outcome ?? 'open',
  ].join('  ');
}
