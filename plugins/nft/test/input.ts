/** Plan inputs for tests: from a few lines about services to what core would pass. */
import {
  type BoundPoint,
  type Canary,
  type CaptureInput,
  compileCaptureSet,
  FIRST_SERVICE,
  type HostFacts,
  type HostNumbers,
  parsePrefix,
  type PlanInput,
  STATIC_EXCLUSIONS,
} from '@weir/core';

export const NUMBERS: HostNumbers = {
  slot: 0,
  mask: 0x3f000000,
  captureMark: 0x10000000,
  bypassMark: 0x20000000,
  table: 22497,
  preference: 9500,
  preferenceBehindMain: 32800,
  protocolId: 87,
};

export const FACTS: HostFacts = {
  netns: '1',
  ipv6: true,
  globalIpv4: '10.1.0.2',
  globalIpv6: '2001:db8:1::2',
  ownAddresses: ['10.1.0.2/32', '127.0.0.1/32', '2001:db8:1::2/128', '::1/128'],
  connectedNetworks: ['10.1.0.0/24', '2001:db8:1::/64'],
};

export interface TestService {
  readonly prefixes: readonly string[];
  readonly ports?: ReadonlyArray<readonly [number, number]>;
  readonly sources?: readonly string[];
  readonly protocols?: ReadonlyArray<'tcp' | 'udp'>;
}

export function point(family: 4 | 6, port: number, protocol: 'tcp' | 'udp' = 'tcp'): BoundPoint {
  return {
    id: `${protocol}${family}`,
    network: { family, protocol },
    bind: { address: family === 4 ? '127.0.0.1' : '::1', port: 0 },
    transparent: true,
    original: { via: 'socket-name' },
    port,
    fds: [-1],
  };
}

export const CANARIES: readonly Canary[] = [
  { family: 4, protocol: 'tcp', address: '192.0.2.1', port: 4711 },
  { family: 6, protocol: 'tcp', address: '2001:db8::1', port: 4711 },
];

/** Compiles the services and completes the input; `more` replaces parts of it, `capture` parts of the compilation. */
export function planInput(
  services: readonly TestService[],
  more: Partial<PlanInput> = {},
  capture: Partial<CaptureInput> & { readonly excludes?: readonly string[] } = {},
): PlanInput {
  const facts = more.facts ?? FACTS;
  const { excludes, ...rest } = capture;
  const set = compileCaptureSet({
    generation: 1,
    services: services.map(({ prefixes, ports = [[0, 65535]], sources = [], protocols = ['tcp'] }, index) => ({
      id: FIRST_SERVICE + index,
      service: {
        name: `service-${index}`,
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
    canaries: CANARIES,
    scopes: { output: true },
    owners: { only: [], except: [] },
    ...rest,
  });
  return {
    owner: 'default',
    set,
    points: [point(4, 15001), point(6, 15001)],
    numbers: NUMBERS,
    facts,
    onCrash: 'open',
    serviceNames: new Map(services.map((_, index) => [FIRST_SERVICE + index, `service-${index}`])),
    ...more,
  };
}
