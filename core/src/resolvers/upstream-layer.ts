/** Everything between the resolver and its upstreams, put together: servers, look-ups for dials, what clients ask for. */
import type { Dialer } from '../api/dialer.ts';
import type { Logger } from '../api/logger.ts';
import type { ResolverConfiguration } from '../config/model.ts';
import { Lookups } from '../dns/lookup.ts';
import { Upstreams } from '../dns/upstreams.ts';
import { UpstreamResolver } from './upstream.ts';
import { UpstreamSources, type UpstreamSourcesOptions } from './upstream-sources.ts';

export interface UpstreamLayerOptions extends Omit<UpstreamSourcesOptions, 'sources'> {
  readonly resolver: ResolverConfiguration;
  readonly log: Logger;
  /** The dialer of a name, for upstreams that are reached through one. */
  readonly dialer?: (name: string) => Dialer | undefined;
}

export interface UpstreamLayer {
  readonly sources: UpstreamSources;
  readonly upstreams: Upstreams;
  readonly lookups: Lookups;
  readonly resolver: UpstreamResolver;
}

export function makeUpstreamLayer(options: UpstreamLayerOptions): UpstreamLayer {
  const { resolver, mark, isOwn, counters, log, dialer, timings } = options;
  const sources = new UpstreamSources({ ...options, sources: resolver.upstreams });
  const upstreams = new Upstreams({
    servers: () => sources.servers(),
    mark,
    isOwn,
    counters,
    mode: resolver.mode,
    resolve: (host, signal) => sources.resolve(host, signal),
    ...(dialer ? { dialer } : {}),
    ...(timings ? { timings } : {}),
  });
  return {
    sources,
    upstreams,
    lookups: new Lookups({ upstreams, counters }),
    resolver: new UpstreamResolver({
      upstreams,
      counters,
      log,
      cacheEntries: resolver.cache,
      staleMs: resolver.serveStale,
      ...(resolver.rebinding === 'block' ? { privateFor: resolver.rebindingAllow } : {}),
    }),
  };
}
