/** From a slot to the record that people read: numbers become names. */
import type { FlowRecord } from '../api/flow.ts';
import type { SlotSnapshot } from './flow-slab.ts';

/** Texts for the numbers in a slot. */
export interface RecordTexts {
  serviceName(id: number): string | undefined;
  nameText(index: number): string | undefined;
  dialerName(index: number): string | undefined;
  interceptorName(): string;
}

/** Unique within one run. */
export function flowId(worker: number, epoch: number, slot: number, generation: number): string {
  return `${worker}.${epoch}.${slot}.${generation}`;
}

/**
 * @param until milliseconds since the epoch: when the flow ended, or now
 * @param worker index of the worker whose slot it is, and `epoch` which life of that worker
 */
export function recordOf(
  flow: SlotSnapshot,
  until: number,
  worker: number,
  epoch: number,
  texts: RecordTexts,
): FlowRecord {
  const name = flow.name === 0 ? undefined : texts.nameText(flow.name - 1);
  const service = texts.serviceName(flow.service);
  const dialed = flow.upstream !== undefined || flow.relay !== 'none';
  const dialer = dialed ? texts.dialerName(flow.dialer) : undefined;
  return {
    id: flowId(worker, epoch, flow.slot, flow.generation),
    protocol: flow.protocol,
    interceptor: texts.interceptorName(),
    source: flow.source,
    original: flow.original,
    ...(name === undefined ? {} : { name }),
    ...(service === undefined ? {} : { service }),
    ...(dialer === undefined ? {} : { dialer }),
    ...(flow.upstream === undefined ? {} : { upstream: flow.upstream }),
    relay: flow.relay,
    bytesUp: flow.bytesUp,
    bytesDown: flow.bytesDown,
    startedAt: flow.startedAt,
    durationMs: Math.max(0, until - flow.startedAt),
    ...(flow.connectedAt === 0 ? {} : { connectMs: flow.connectedAt - flow.startedAt }),
    ...(flow.outcome === undefined ? {} : { outcome: flow.outcome }),
  };
}
