/** From a checked document to the configuration that the engine runs on. */
import { DEFAULTS } from './defaults.ts';
import { valueAt } from './issues.ts';
import type { Configuration, DialerConfiguration, PortRange, ServiceConfiguration } from './model.ts';
import { itemsAt } from './references.ts';
import { joinPorts } from './scalars.ts';
import type { DocumentValue } from './schema.ts';

const ALL_PORTS: readonly PortRange[] = [{ first: 0, last: 65_535 }];

/** A dialer with a type, as it stands in a document: named under `dialers`, or inline in a service. */
export interface DialerUse {
  readonly path: readonly PropertyKey[];
  readonly name: string;
  readonly type: string;
  /** All keys but `type`. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** The name of the n-th dialer of a service when it is written inline. */
function inlineName(service: string, index: number): string {
  return `${service}#${index + 1}`;
}

function useAt(root: unknown, path: readonly PropertyKey[], name: string): readonly DialerUse[] {
  const value = valueAt(root, path);
  if (typeof value !== 'object' || value === null) return [];
  const { type, ...options } = value as Readonly<Record<string, unknown>>;
  return typeof type === 'string' ? [{ path, name, type, options }] : [];
}

/** All dialers of a document; what is of a wrong type is passed over. */
export function dialerUses(root: unknown): readonly DialerUse[] {
  const named = valueAt(root, ['dialers']);
  const names = typeof named === 'object' && named !== null && !Array.isArray(named) ? Object.keys(named) : [];
  const inline = itemsAt(root, ['services']).flatMap(([path, one]) => {
    if (valueAt(one, ['dialer']) === undefined) return [];
    const service = String(valueAt(one, ['name']));
    return itemsAt(root, [...path, 'dialer']).flatMap(([at], i) => useAt(root, at, inlineName(service, i)));
  });
  return [...names.flatMap((name) => useAt(root, ['dialers', name], name)), ...inline];
}

function service(value: DocumentValue['services'][number]): ServiceConfiguration {
  return {
    name: value.name,
    names: [...new Set(value.addresses.flatMap((a) => ('name' in a ? [a.name] : [])))],
    prefixes: value.addresses.flatMap((a) => ('prefix' in a ? [a.prefix] : [])),
    ports: value.ports === undefined || value.ports.length === 0 ? ALL_PORTS : joinPorts(value.ports),
    protocols: value.protocols === undefined || value.protocols.length === 0 ? ['tcp'] : [...new Set(value.protocols)],
    sources: value.sources ?? [],
    dialers:
      value.dialer === undefined || value.dialer.length === 0
        ? ['direct']
        : value.dialer.map((use, i) => (typeof use === 'string' ? use : inlineName(value.name, i))),
    ...(value.listen === undefined ? {} : { listen: value.listen }),
    ...(value.address === 'real' ? { address: value.address } : {}),
    ...(value.resolve === 'upstream' ? { resolve: value.resolve } : {}),
  };
}

export interface Parts {
  /** Absolute. */
  readonly file?: string;
  readonly document: DocumentValue;
  /** Wins over `document`, key by key. */
  readonly overrides: DocumentValue;
  /** Checked options by dialer name, and by interceptor id. */
  readonly dialerOptions: ReadonlyMap<string, unknown>;
  readonly interceptorOptions: Readonly<Record<string, unknown>>;
  /** Of plugins' resolvers, by id. */
  readonly resolverOptions: Readonly<Record<string, unknown>>;
  /** Located: package names and absolute paths. */
  readonly plugins: readonly string[];
}

export function assemble(parts: Parts): Configuration {
  const { document, overrides } = parts;
  const capture = document.capture ?? {};
  const resolver = { ...document.resolver, ...overrides.resolver };
  const timeouts = document.timeouts ?? {};
  const limits = document.limits ?? {};
  const log = { ...document.log, ...overrides.log };
  const interceptor = overrides.interceptor ?? document.interceptor ?? ['auto'];
  const dialers: readonly DialerConfiguration[] = dialerUses(document).map(({ name, type }) => ({
    name,
    type,
    options: parts.dialerOptions.get(name),
  }));
  const d = DEFAULTS;
  return {
    ...(parts.file === undefined ? {} : { file: parts.file }),
    interceptor: interceptor[0] === 'auto' ? 'auto' : interceptor,
    interceptors: parts.interceptorOptions,
    require: overrides.require ?? document.require ?? d.require,
    owner: overrides.owner ?? document.owner ?? d.owner,
    workers: overrides.workers ?? document.workers ?? d.workers,
    workerCpus: overrides['worker-cpus'] ?? document['worker-cpus'] ?? d.workerCpus,
    capture: {
      scopes: capture.scopes ?? d.capture.scopes,
      forward: capture.forward ?? d.capture.forward,
      mark: capture.mark ?? d.capture.mark,
      table: capture.table ?? d.capture.table,
      preference: capture.preference ?? d.capture.preference,
      onDrift: capture['on-drift'] ?? d.capture.onDrift,
      onCrash: capture['on-crash'] ?? d.capture.onCrash,
      only: capture.only ?? d.capture.only,
      except: capture.except ?? d.capture.except,
    },
    resolver: {
      listen: resolver.listen ?? d.resolver.listen,
      reach: resolver.reach ?? d.resolver.reach,
      ranges: resolver.ranges ?? d.resolver.ranges,
      upstreams: resolver.upstreams ?? d.resolver.upstreams,
      mode: resolver.mode ?? d.resolver.mode,
      unanswerable: resolver.unanswerable ?? d.resolver.unanswerable,
      udpBytes: resolver['udp-bytes'] ?? d.resolver.udpBytes,
      ttl: resolver.ttl ?? d.resolver.ttl,
      keep: resolver.keep ?? d.resolver.keep,
      secret: resolver.secret ?? d.resolver.secret,
      map: resolver.map ?? d.resolver.map,
      cache: resolver.cache ?? d.resolver.cache,
      serveStale: resolver['serve-stale'] ?? d.resolver.serveStale,
      rebinding: resolver.rebinding ?? d.resolver.rebinding,
      rebindingAllow: resolver['rebinding-allow'] ?? d.resolver.rebindingAllow,
      dohCanary: resolver['doh-canary'] ?? d.resolver.dohCanary,
      test: resolver.test ?? d.resolver.test,
      plugins: parts.resolverOptions,
    },
    dialers,
    services: document.services.map(service),
    exclude: document.exclude ?? d.exclude,
    unmatched: document.unmatched ?? d.unmatched,
    timeouts: {
      connect: timeouts.connect ?? d.timeouts.connect,
      handshake: timeouts.handshake ?? d.timeouts.handshake,
      idle: timeouts.idle ?? d.timeouts.idle,
      udpIdle: timeouts['udp-idle'] ?? d.timeouts.udpIdle,
      halfClosed: timeouts['half-closed'] ?? d.timeouts.halfClosed,
      drain: timeouts.drain ?? d.timeouts.drain,
    },
    limits: {
      flows: limits.flows ?? d.limits.flows,
      udpSessions: limits['udp-sessions'] ?? d.limits.udpSessions,
      pendingDials: limits['pending-dials'] ?? d.limits.pendingDials,
      names: limits.names ?? d.limits.names,
      realAddresses: limits['real-addresses'] ?? d.limits.realAddresses,
    },
    log: {
      level: log.level ?? d.log.level,
      format: log.format ?? d.log.format,
      flows: log.flows ?? d.log.flows,
    },
    admin: overrides.admin ?? document.admin ?? d.admin,
    plugins: parts.plugins,
  };
}
