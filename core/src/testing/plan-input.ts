/** Plan inputs for tests: from a few lines about services to what core would pass to an interceptor. */
import { FIRST_SERVICE, type Canary } from '../api/capture.ts';
import type { Family, Protocol } from '../api/flow.ts';
import type { HostFacts, HostNumbers } from '../api/host.ts';
import type { PlanInput } from '../api/interceptor.ts';
import type { BoundPoint } from '../api/point.ts';
import { parsePrefix } from '../capture/address.ts';
import { type CaptureInput, compileCaptureSet, STATIC_EXCLUSIONS } from '../capture/compile.ts';
import { numbersOf } from '../host/numbers.ts';

/** The numbers of the first slot. */
export const TEST_NUMBERS: HostNumbers = numbersOf(0);

/** A host with one address of each family. */
export const TEST_FACTS: HostFacts = {
  netns: '1',
  ipv6: true,
  globalIpv4: '10.1.0.2',
  globalIpv6: '2001:db8:1::2',
  ownAddresses: ['10.1.0.2/32', '127.0.0.1/32', '2001:db8:1::2/128', '::1/128'],
  connectedNetworks: ['10.1.0.0/24', '2001:db8:1::/64'],
};

export const TEST_CANARIES: readonly Canary[] = [
  { family: 4, protocol: 'tcp', address: '192.0.2.1', port: 4711 },
  { family: 6, protocol: 'tcp', address: '2001:db8::1', port: 4711 },
];

export interface TestService {
  readonly prefixes: readonly string[];
  /** Inclusive ranges; default all. */
  readonly ports?: ReadonlyArray<readonly [number, number]>;
  readonly sources?: readonly string[];
  /** Default TCP. */
  readonly protocols?: ReadonlyArray<'tcp' | 'udp'>;
  /** Default `service-<index>`. */
  readonly name?: string;
}

/** A transparent point on the loopback address. @param fd of its socket. */
export function testPoint(family: Family, port: number, fd = -1, protocol: Protocol = 'tcp'): BoundPoint {
  return {
    id: `${protocol}${family}`,
    network: { family, protocol },
    bind: { address: family === 4 ? '127.0.0.1' : '::1', port: 0 },
    transparent: true,
    original: { via: 'socket-name' },
    port,
    fds: [fd],
  };
}

/** The same, of TCP. */
export function tcpPoint(family: Family, port: number, fd = -1): BoundPoint {
  return testPoint(family, port, fd);
}

/** Parts of a {@link CaptureInput}, with exclusions as text. */
export type TestCapture = Partial<CaptureInput> & { readonly excludes?: readonly string[] };

/** Compiles the services and completes the input; `more` replaces parts of it, `capture` parts of the compilation. */
export function testPlanInput(
  services: readonly TestService[],
  more: Partial<PlanInput> = {},
  capture: TestCapture = {},
): PlanInput {
  const facts = more.facts ?? TEST_FACTS;
  const { excludes, ...rest } = capture;
  const named = services.map((service, index) => ({ ...service, name: service.name ?? `service-${index}` }));
  const set = compileCaptureSet({
    generation: 1,
    services: named.map(({ name, prefixes, ports = [[0, 65535]], sources = [], protocols = ['tcp'] }, index) => ({
      id: FIRST_SERVICE + index,
      service: {
        name,
        names: [],
        prefixes: prefixes.map(parsePrefix),
        ports: ports.map(([first, last]) => ({ first, last })),
        protocols,
        sources: sources.map(parsePrefix),
      },
    })),
    exclude: (excludes ?? []).map(parsePrefix),
    builtins: [...STATIC_EXCLUSIONS, ...[...facts.ownAddresses, ...facts.connectedNetworks].map(parsePrefix)],
    ranges: [],
    rangeProtocols: [],
    canaries: TEST_CANARIES,
    scopes: { output: true },
    owners: { only: [], except: [] },
    ...rest,
  });
  return {
    owner: 'default',
    set,
    points: [tcpPoint(4, 15001), tcpPoint(6, 15001)],
    numbers: TEST_NUMBERS,
    facts,
    onCrash: 'open',
    serviceNames: new Map(named.map(({ name }, index) => [FIRST_SERVICE + index, name])),
    ...more,
  };
}
