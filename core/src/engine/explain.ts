/** `weir test`: who would take a flow, and why. Asks nobody and changes nothing: `decide`, explained. */
import { NAMES_SERVICE, type CaptureChoice } from '../api/capture.ts';
import { UsageError } from '../api/errors.ts';
import type { FlowKey, Protocol } from '../api/flow.ts';
import {
  addressToNumber,
  explain,
  explainPorts,
  familyOf,
  formatPrefix,
  isAddress,
  NO_PATTERN,
} from '../capture/index.ts';
import type { Configuration } from '../config/model.ts';
import { hostFacts } from '../host/facts.ts';
import { makeCapturePlan, ServiceNumbers, type CapturePlan } from './capture-plan.ts';

export interface FlowExplanation {
  /** `service`: a service takes it. `direct`: captured by its name, dialled as if Weir were not there. */
  readonly decision: 'service' | 'direct' | 'spare' | 'deny' | 'none';
  readonly service?: string;
  readonly dialers?: readonly string[];
  /** The steps of the decision, one sentence each. */
  readonly reasons: readonly string[];
}

export interface ExplainOptions {
  readonly protocol: Protocol;
  /** An address; without it, one that no source limit names. */
  readonly source?: string;
}

/** @throws UsageError when host, port or source are none. */
export function explainFlow(
  configuration: Configuration,
  host: string,
  port: number,
  { protocol, source }: ExplainOptions,
): FlowExplanation {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new UsageError({ problem: `${port} is no port.`, remedy: 'Give a number from 0 to 65535.' });
  }
  const literal = isAddress(host);
  const family = literal ? familyOf(host) : source === undefined ? 4 : familyOf(source);
  if (source !== undefined && (!isAddress(source) || familyOf(source) !== family)) {
    throw new UsageError({
      problem: `${source} is no IPv${family} address.`,
      remedy: 'Give the source as an address of the family of the destination.',
    });
  }
  const plan = makeCapturePlan({
    configuration,
    facts: hostFacts(),
    generation: 1,
    numbers: new ServiceNumbers(),
    canaries: [],
  });
  const key: Omit<FlowKey, 'destination'> = {
    family,
    protocol,
    port,
    source: source === undefined ? 0n : addressToNumber(source),
  };
  return literal
    ? explainAddress(plan, host, { ...key, destination: addressToNumber(host) })
    : explainName(plan, host.toLowerCase().replace(/\.$/, ''), key);
}

function explainName(plan: CapturePlan, name: string, key: Omit<FlowKey, 'destination'>): FlowExplanation {
  const pattern = plan.names.match(name);
  if (pattern === NO_PATTERN) {
    return { decision: 'none', reasons: [`no service names ${name}, so it is resolved and reached as without Weir`] };
  }
  const reasons = [`${name} matches ${plan.names.patterns[pattern]}, so it gets an address of the assigned range`];
  const { ports, choice } = explainPorts(plan.names.rows[pattern] ?? [], key);
  if (ports === undefined || choice === undefined) {
    const why = ports === undefined ? `${key.protocol} port ${key.port}` : 'flows from this source';
    reasons.push(`no service of that name takes ${why}: the name's real address is dialled directly`);
    return { decision: 'direct', reasons };
  }
  return decided(plan, ports, choice, reasons);
}

function explainAddress(plan: CapturePlan, host: string, key: FlowKey): FlowExplanation {
  const { row, ports, choice } = explain(plan.set, key);
  if (row === undefined) return { decision: 'none', reasons: [`no prefix of the configuration contains ${host}`] };
  const reasons = [`the longest prefix around ${host} is ${formatPrefix(row.prefix)}`];
  if (ports === undefined) {
    reasons.push(`nothing takes ${key.protocol} port ${key.port} there`);
    return { decision: 'none', reasons };
  }
  if (choice === undefined) {
    reasons.push('nothing takes flows from this source there');
    return { decision: 'none', reasons };
  }
  if (typeof choice.verdict === 'object' && choice.verdict.steer === NAMES_SERVICE) {
    reasons.push('it lies in the assigned range: the name behind the address decides; test the name instead');
    return { decision: 'direct', reasons };
  }
  return decided(plan, ports, choice, reasons);
}

function decided(
  plan: CapturePlan,
  ports: { readonly protocol: string; readonly first: number; readonly last: number },
  { verdict, sources }: CaptureChoice,
  reasons: string[],
): FlowExplanation {
  const stretch = ports.first === ports.last ? `port ${ports.first}` : `ports ${ports.first}-${ports.last}`;
  const from = sources.length === 0 ? 'any source' : `sources ${sources.map(formatPrefix).join(', ')}`;
  reasons.push(`there, ${ports.protocol} ${stretch} from ${from} decides`);
  if (verdict === 'spare') {
    reasons.push('it is excluded and left alone');
    return { decision: 'spare', reasons };
  }
  if (verdict === 'deny') return { decision: 'deny', reasons };
  const service = plan.services.get(verdict.steer);
  if (service === undefined) return { decision: 'none', reasons };
  reasons.push(`the service ${service.name} takes it, by ${service.dialers.join(', then ')}`);
  return { decision: 'service', service: service.name, dialers: service.dialers, reasons };
}
