/** The reference: what a capture set means. Every mechanism, and the worker's table, must answer as this does. */
import type { CaptureChoice, CapturePorts, CaptureRow, CaptureSet } from '../api/capture.ts';
import type { FlowKey } from '../api/flow.ts';
import { prefixContains } from './address.ts';
import { codeOf, type Decision, decisionOf } from './verdict.ts';

/** A decision and what made it. What is absent did not match: the look-up ended before it. */
export interface Explanation {
  readonly decision: Decision;
  /** The longest prefix around the destination. */
  readonly row?: CaptureRow;
  /** The stretch of that row with the flow's protocol and port. */
  readonly ports?: CapturePorts;
  /** The first choice of that stretch with the flow's source. */
  readonly choice?: CaptureChoice;
}

/** Who takes this flow: a service, or `spare` (excluded), `deny` (refused) or `none` (nobody wants it). */
export function decide(set: CaptureSet, flow: FlowKey): Decision {
  return explain(set, flow).decision;
}

/** As {@link decide}, with the row, the stretch and the choice that decided. */
export function explain(set: CaptureSet, flow: FlowKey): Explanation {
  let row: CaptureRow | undefined;
  for (const candidate of set.rows) {
    if (!prefixContains(candidate.prefix, flow.family, flow.destination)) continue;
    if (!row || candidate.prefix.length > row.prefix.length) row = candidate;
  }
  if (!row) return { decision: 'none' };
  return { ...explainPorts(row.ports, flow), row };
}

/** The part of a decision after the destination is settled: by a row's prefix, or by the name behind an address. */
export function explainPorts(
  stretches: readonly CapturePorts[],
  flow: Omit<FlowKey, 'destination'>,
): Pick<Explanation, 'decision' | 'ports' | 'choice'> {
  const ports = stretches.find(
    ({ protocol, first, last }) => protocol === flow.protocol && first <= flow.port && flow.port <= last,
  );
  if (!ports) return { decision: 'none' };
  const choice = ports.choices.find(
    ({ sources }) => sources.length === 0 || sources.some((source) => prefixContains(source, flow.family, flow.source)),
  );
  if (!choice) return { decision: 'none', ports };
  return { decision: decisionOf(codeOf(choice.verdict)), ports, choice };
}
