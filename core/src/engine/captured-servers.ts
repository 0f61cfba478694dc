/** Servers of the host whose port 53 is captured for Weir's resolver: rules, rows, and which of them can be. */
import { RESOLVER_SERVICES } from '../api/capture.ts';
import type { Endpoint, Family, Protocol } from '../api/flow.ts';
import type { HostFacts } from '../api/host.ts';
import type { InterceptorDefinition } from '../api/interceptor.ts';
import { addressToNumber, familyOf } from '../capture/address.ts';
import { decide, type CapturedResolver } from '../capture/index.ts';
import type { Configuration } from '../config/model.ts';
import type { CaptureMeans } from '../dns/reach-capture.ts';
import { makeCapturePlan, ServiceNumbers } from './capture-plan.ts';

/** The servers, and Weir's own listeners that flows to them are carried to. */
export interface CapturedServers {
  readonly addresses: readonly string[];
  readonly listeners: Readonly<Partial<Record<Protocol, Endpoint>>>;
}

export const NO_SERVERS: CapturedServers = { addresses: [], listeners: {} };

export function resolversOf({ addresses, listeners }: CapturedServers): readonly CapturedResolver[] {
  const protocols = (['udp', 'tcp'] as const).filter((protocol) => listeners[protocol] !== undefined);
  return protocols.length === 0 ? [] : addresses.map((address) => ({ address, protocols }));
}

/** Those of the servers whose port 53 would come to the resolver: no exclusion and no service has them. */
export function serversThatWin(
  configuration: Configuration,
  facts: HostFacts,
  servers: CapturedServers,
): readonly string[] {
  const resolvers = resolversOf(servers);
  const numbers = new ServiceNumbers();
  const { set } = makeCapturePlan({ configuration, facts, generation: 1, numbers, canaries: [], resolvers });
  return servers.addresses.filter((address) => {
    const [family, destination] = [familyOf(address), addressToNumber(address)];
    const decision = decide(set, { family, protocol: 'udp', source: 0n, destination, port: 53 });
    return decision === RESOLVER_SERVICES.udp;
  });
}

export interface CaptureMeansInput {
  readonly configuration: Configuration;
  readonly interceptor: Pick<InterceptorDefinition<never>, 'id' | 'capabilities'>;
  /** Families that are captured at all. */
  readonly families: readonly Family[];
  readonly facts: () => HostFacts;
}

export function captureMeans({ configuration, interceptor, families, facts }: CaptureMeansInput): CaptureMeans {
  const { id, capabilities } = interceptor;
  const udp = capabilities.networks.filter(({ protocol }) => protocol === 'udp').map(({ family }) => family);
  return {
    interceptor: id,
    families: families.filter((family) => udp.includes(family)),
    output: configuration.capture.scopes.includes('output') && capabilities.scopes.includes('output'),
    ownAddresses: capabilities.ownAddresses !== false,
    own: () => facts().ownAddresses.map((text) => text.replace(/\/.*/, '')),
    wins: (addresses, listeners) => serversThatWin(configuration, facts(), { addresses, listeners }),
  };
}
