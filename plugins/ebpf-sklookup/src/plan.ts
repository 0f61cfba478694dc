/** What `start` makes, as text: the program and its maps in words, the rest in the notation of ip(8). Pure. */
import {
  familiesOf,
  type FamilyRouting,
  fateLine,
  ipTool,
  type OwnSources,
  ownSources,
  type Plan,
  type PlanInput,
  type PlanStep,
  routingLines,
  routingOf,
  sourceLine,
} from '@weir/core';
import { deviceName } from './anchor.ts';
import { refuseUnsupported } from './limits.ts';
import { describeContent, mapContentOf } from './map-content.ts';
import type { SkLookupOptions } from './options.ts';

export const ID = 'ebpf-sklookup';

function bpfStep(input: PlanInput, sources: OwnSources): PlanStep {
  const content = mapContentOf(input);
  refuseUnsupported(input, content);
  const families = familiesOf(input);
  const points = input.points.filter(({ network }) => families.includes(network.family));
  const lines = [
    '# bpf/sklookup.bpf.o, linked to this network namespace; it is not pinned and goes with the process.',
    'program sk_lookup weir',
    `settings: ${families.map((family) => `own${family} ${sources[family]}`).join(', ')}${content.forwarded ? ', forwarded' : ''}`,
    ...points.map(({ network, port }) => `sockets: ${network.protocol}${network.family} port ${port}`),
    ...describeContent(content),
  ];
  return { tool: 'bpf', text: `${lines.join('\n')}\n` };
}

/** Commands that bring the device; `tuntap add` makes one that stays. */
function deviceLines({ onCrash }: PlanInput, device: string): readonly string[] {
  return [
    fateLine(onCrash),
    `tuntap add dev ${device} mode tun`,
    `link set dev ${device} addrgenmode none`,
    `link set dev ${device} up`,
  ];
}

function familyStep(input: PlanInput, routing: FamilyRouting, source: OwnSources, first: readonly string[]): PlanStep {
  const { family } = routing;
  const device = deviceName(input.numbers);
  const lines = [
    ...first,
    sourceLine(family, source, device),
    ...routingLines(routing, input.numbers, { type: 'local', device, source }),
  ];
  return { tool: ipTool(family), text: `${lines.join('\n')}\n` };
}

/** Device, program, routes; the rules that steer come last. */
export function planOf(input: PlanInput, options: SkLookupOptions): Plan {
  const sources = ownSources(input.numbers, options);
  const bpf = bpfStep(input, sources);
  const device = deviceLines(input, deviceName(input.numbers));
  const routing = routingOf(input, { id: ID, sources });
  return {
    interceptor: ID,
    steps: [bpf, ...routing.map((each, index) => familyStep(input, each, sources, index === 0 ? device : []))],
  };
}
