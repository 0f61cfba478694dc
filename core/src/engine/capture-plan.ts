/**
 * The services of a run, numbered and compiled: the capture set for the interceptor, the look-up table for the workers,
 * the name table for the resolver. One of these per generation.
 */
import { FIRST_SERVICE, type Canary, type CaptureSet, type ServiceId } from '../api/capture.ts';
import type { Family, Prefix } from '../api/flow.ts';
import type { HostFacts } from '../api/host.ts';
import {
  buildLookupTable,
  compileCaptureSet,
  compileNames,
  NO_PATTERN,
  parsePrefix,
  protocolsOfNames,
  STATIC_EXCLUSIONS,
  type CapturedResolver,
  type LookupTableData,
  type NameTable,
} from '../capture/index.ts';
import type { Configuration, ServiceConfiguration } from '../config/model.ts';

export interface CapturePlan {
  readonly configuration: Configuration;
  readonly set: CaptureSet;
  readonly names: NameTable;
  readonly lookup: LookupTableData;
  readonly services: ReadonlyMap<ServiceId, ServiceConfiguration>;
  readonly serviceNames: ReadonlyMap<ServiceId, string>;
}

/** Gives services their ids: a name keeps its id over reloads; an id is never given to another name in one run. */
export class ServiceNumbers {
  readonly #ids = new Map<string, ServiceId>();
  #next = FIRST_SERVICE;

  of(name: string): ServiceId {
    let id = this.#ids.get(name);
    if (id === undefined) {
      id = this.#next++;
      this.#ids.set(name, id);
    }
    return id;
  }

  get next(): ServiceId {
    return this.#next;
  }
}

const CANARY_ADDRESSES: Readonly<Record<Family, string>> = { 4: '192.0.2.1', 6: '2001:db8::1' };
/** Canary ports are apart by slot, so that owners that start at once do not take each other's. */
const CANARY_PORT = 64_000;

/**
 * One canary per family × protocol that the configuration captures and the host has. None where only forwarded traffic is
 * captured: this host can send nothing that comes from outside.
 */
export function canariesFor(configuration: Configuration, facts: HostFacts, slot: number): readonly Canary[] {
  const canaries: Canary[] = [];
  if (!configuration.capture.scopes.includes('output')) return canaries;
  for (const family of [4, 6] as const) {
    if (family === 6 && !facts.ipv6) continue;
    for (const protocol of ['tcp', 'udp'] as const) {
      const wanted = configuration.services.some(
        (service) =>
          service.protocols.includes(protocol) &&
          (service.names.length > 0 || service.prefixes.some((prefix) => prefix.family === family)),
      );
      if (wanted) canaries.push({ family, protocol, address: CANARY_ADDRESSES[family], port: CANARY_PORT + slot });
    }
  }
  return canaries;
}

/** Exclusions that hold without being configured, on this host as it is now. */
function builtinExclusions(facts: HostFacts): readonly Prefix[] {
  return [
    ...STATIC_EXCLUSIONS,
    ...[...facts.ownAddresses, ...facts.connectedNetworks].map((text) => parsePrefix(text)),
  ];
}

export interface CapturePlanInput {
  readonly configuration: Configuration;
  readonly facts: HostFacts;
  readonly generation: number;
  readonly numbers: ServiceNumbers;
  readonly canaries: readonly Canary[];
  /** Servers of the host whose port 53 goes to Weir's resolver. */
  readonly resolvers?: readonly CapturedResolver[];
  /** Real addresses of names, with the index of the names. */
  readonly named?: ReadonlyArray<{ readonly address: string; readonly patternIndex: number }>;
  /** What holds until this plan does. */
  readonly previous?: CapturePlan;
  /** The table of the same services, which is taken as it is: it may have grown since it was compiled. */
  readonly names?: NameTable;
}

export function makeCapturePlan(input: CapturePlanInput): CapturePlan {
  const { configuration, facts, generation, numbers, canaries } = input;
  const numbered = configuration.services.map((service) => ({ id: numbers.of(service.name), service }));
  const { scopes, forward, only, except } = configuration.capture;
  const names = input.names ?? compileNames(numbered, input.previous?.names);
  const set = compileCaptureSet({
    generation,
    services: numbered,
    exclude: configuration.exclude,
    builtins: builtinExclusions(facts),
    ranges: configuration.resolver.ranges.filter((range) => range.family === 4 || facts.ipv6),
    rangeProtocols: protocolsOfNames(configuration.services),
    canaries,
    resolvers: input.resolvers ?? [],
    named: (input.named ?? []).map(({ address, patternIndex }) => ({ address, ports: names.rows[patternIndex] ?? [] })),
    scopes: {
      output: scopes.includes('output'),
      ...(scopes.includes('forward') ? { forward: { interfaces: forward.interfaces } } : {}),
    },
    owners: { only, except },
    ...(input.previous === undefined ? {} : { previous: input.previous.set }),
  });
  return {
    configuration,
    set,
    names,
    lookup: buildLookupTable(set, names),
    services: new Map(numbered.map(({ id, service }) => [id, service])),
    serviceNames: new Map(numbered.map(({ id, service }) => [id, service.name])),
  };
}

/** The services of a plan that want the names of an index. */
export function servicesOfNames({ names, services }: CapturePlan, index: number): readonly ServiceConfiguration[] {
  const ids = new Set<ServiceId>();
  for (const { choices } of names.rows[index] ?? []) {
    for (const { verdict } of choices) if (typeof verdict === 'object') ids.add(verdict.steer);
  }
  return [...ids].flatMap((id) => services.get(id) ?? []);
}

/** Names that both tables want; what the resolver answers by while one is replaced by the other. */
export function commonNames(before: NameTable, after: NameTable): { match(name: string): number } {
  return {
    match: (name) => (before.match(name) === NO_PATTERN ? NO_PATTERN : after.match(name)),
  };
}

/** Whether the names of an index keep their real addresses: all services that want them say so. */
export function keepsAddresses(plan: CapturePlan, index: number): boolean {
  const services = servicesOfNames(plan, index);
  return services.length > 0 && services.every(({ address }) => address === 'real');
}
