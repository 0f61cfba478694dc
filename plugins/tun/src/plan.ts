/** What `start` makes, in the notation of ip(8). Pure. */
import {
  fateLine,
  type FamilyRouting,
  formatPrefix,
  ipTool,
  type Plan,
  type PlanInput,
  type PlanStep,
  routingLines,
  routingOf,
  sourceLine,
} from '@weir/core';
import { formatRoute } from '@weir/core/sys';
import { addressesOf, deviceName, type TunAddresses } from './addresses.ts';
import { natRoutes } from './device.ts';
import { refuseUnsupported } from './limits.ts';
import { DEFAULT_MTU, type TunOptions } from './options.ts';

export const ID = 'tun';

/** Commands that bring the device; `tuntap add` makes one that stays. */
function deviceLines({ onCrash }: PlanInput, device: string, mtu: number): readonly string[] {
  return [
    fateLine(onCrash),
    `tuntap add dev ${device} mode tun vnet_hdr`,
    `link set dev ${device} addrgenmode none`,
    `link set dev ${device} mtu ${mtu} up`,
  ];
}

function familyStep(
  input: PlanInput,
  routing: FamilyRouting,
  addresses: TunAddresses,
  first: readonly string[],
): PlanStep {
  const { family } = routing;
  const device = deviceName(input.numbers);
  const setup = {
    name: device,
    addresses,
    families: [family],
    mtu: 0,
    offload: 'auto',
    numbers: input.numbers,
  } as const;
  const how = { type: 'unicast', device, source: addresses.sources } as const;
  const lines = [
    ...first,
    sourceLine(family, addresses.sources, device),
    `# Where flows seem to come from when they reach Weir's listeners: ${formatPrefix(addresses.nat[family])}`,
    ...natRoutes(setup, 1).map((route) => `route add ${formatRoute(route, device)}`),
    ...routingLines(routing, input.numbers, how),
  ];
  return { tool: ipTool(family), text: `${lines.join('\n')}\n` };
}

/** Device, routes; the rules that steer come last. */
export function planOf(input: PlanInput, options: TunOptions): Plan {
  refuseUnsupported(input);
  const addresses = addressesOf(input.numbers, options);
  const device = deviceLines(input, deviceName(input.numbers), options.mtu ?? DEFAULT_MTU);
  const routing = routingOf(input, { id: ID, sources: addresses.sources });
  return {
    interceptor: ID,
    steps: routing.map((each, index) => familyStep(input, each, addresses, index === 0 ? device : [])),
  };
}
