/** What `start` makes, as text: the program and its maps in words, the rest in the notation of ip(8). Pure. */
import { type Plan, type PlanInput, type PlanStep } from '@weir/core';
import { formatRoute, formatRule } from '@weir/core/sys';
import { refuseUnsupported } from './limits.ts';
import { describeContent, familiesOf, mapContentOf } from './map-content.ts';
import type { SkLookupOptions } from './options.ts';
import { deviceName, type OwnSources, ownSources } from './own-sources.ts';
import { type FamilyRouting, routingOf } from './routing.ts';

function bpfStep(input: PlanInput, sources: OwnSources): PlanStep {
  const content = mapContentOf(input);
  refuseUnsupported(input, content);
  const families = familiesOf(input);
  const points = input.points.filter(({ network }) => families.includes(network.family));
  const lines = [
    '# bpf/sklookup.bpf.o, linked to this network namespace; it is not pinned and goes with the process.',
    'program sk_lookup weir',
    `settings: ${families.map((family) => `own${family} ${sources[family]}`).join(', ')}`,
    ...points.map(({ network, port }) => `sockets: ${network.protocol}${network.family} port ${port}`),
    ...describeContent(content),
  ];
  return { tool: 'bpf', text: `${lines.join('\n')}\n` };
}

/** Commands that bring the device; `tuntap add` makes one that stays. */
function deviceLines(input: PlanInput, device: string): readonly string[] {
  const how =
    input.onCrash === 'open'
      ? '# Without a process that holds it the device goes, and its addresses and routes with it.'
      : '# The device stays when the process is killed, and with it what blocks the captured destinations.';
  return [
    how,
    `tuntap add dev ${device} mode tun`,
    `link set dev ${device} addrgenmode none`,
    `link set dev ${device} up`,
  ];
}

function ipStep(input: PlanInput, routing: FamilyRouting, sources: OwnSources, first: boolean): PlanStep {
  const { family, tables, rules } = routing;
  const device = deviceName(input.numbers);
  const address =
    family === 4
      ? `address add ${sources[4]}/32 dev ${device} scope host noprefixroute`
      : `address add ${sources[6]}/128 dev ${device} preferred_lft 0 nodad noprefixroute`;
  const protocol = input.numbers.protocolId;
  const routes = [...tables].flatMap(([table, entries]) =>
    [...entries.values()].map(({ prefix, local }) =>
      local
        ? formatRoute(
            { type: 'local', destination: prefix, table, device: 1, source: sources[family], protocol },
            device,
          )
        : formatRoute({ type: 'throw', destination: prefix, table, protocol }),
    ),
  );
  const lines = [
    ...(first ? deviceLines(input, device) : []),
    address,
    ...routes.map((route) => `route add ${route}`),
    ...rules.map((rule) => `rule add ${formatRule(rule)}`),
  ];
  return { tool: family === 4 ? 'ip' : 'ip -6', text: `${lines.join('\n')}\n` };
}

/** Device, program, routes; the rules that steer come last. */
export function planOf(input: PlanInput, options: SkLookupOptions): Plan {
  const sources = ownSources(input.numbers, options);
  const bpf = bpfStep(input, sources);
  const routing = routingOf(input, sources);
  return {
    interceptor: 'ebpf-sklookup',
    steps: [bpf, ...routing.map((each, index) => ipStep(input, each, sources, index === 0))],
  };
}
