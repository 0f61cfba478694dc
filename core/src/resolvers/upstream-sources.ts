/** The servers of `resolver.upstreams`: `system` is read from the host each time, and servers given by name are found. */
import { LoopError } from '../api/errors.ts';
import type { Endpoint, Family } from '../api/flow.ts';
import { isAddress } from '../capture/address.ts';
import type { UpstreamSource } from '../config/model.ts';
import type { DnsCounters } from '../dns/counters.ts';
import { Lookups } from '../dns/lookup.ts';
import { serverName } from '../dns/upstream-health.ts';
import { Upstreams, type UpstreamServer, type UpstreamTimings } from '../dns/upstreams.ts';

export interface UpstreamSourcesOptions {
  readonly sources: readonly UpstreamSource[];
  /** The servers that the host itself asks. */
  readonly system: () => readonly UpstreamServer[];
  /** What the hosts file says. */
  readonly hosts: (name: string, family: Family) => readonly string[] | undefined;
  readonly families: readonly Family[];
  readonly mark: number;
  readonly isOwn: (endpoint: Endpoint) => boolean;
  readonly counters: DnsCounters;
  readonly timings?: Partial<UpstreamTimings>;
}

export class UpstreamSources {
  readonly #options: UpstreamSourcesOptions;
  /** Asks servers that need no other to be found. */
  readonly #plain: Upstreams;
  readonly #lookups: Lookups;

  constructor(options: UpstreamSourcesOptions) {
    this.#options = options;
    const { mark, isOwn, counters, timings } = options;
    this.#plain = new Upstreams({
      servers: () => this.#plainServers(),
      mark,
      isOwn,
      counters,
      ...(timings ? { timings } : {}),
    });
    this.#lookups = new Lookups({ upstreams: this.#plain, counters });
  }

  /** All servers, each once. */
  servers(): readonly UpstreamServer[] {
    const servers = this.#options.sources.flatMap((source): readonly UpstreamServer[] =>
      source === 'system' ? this.#options.system() : [source],
    );
    return [...new Map(servers.map((server) => [`${serverName(server)} ${server.dialer ?? ''}`, server])).values()];
  }

  /** @throws LoopError when a server that the configuration names is a listener of this Weir. */
  refuseOwn(): void {
    for (const source of this.#options.sources) {
      if (source === 'system' || !isAddress(source.endpoint.address) || !this.#options.isOwn(source.endpoint)) continue;
      throw new LoopError({
        problem: `The upstream ${serverName(source)} is one of Weir's own listeners.`,
        remedy: 'Name another server in resolver.upstreams, or another address in resolver.listen.',
      });
    }
  }

  /** Where a server or a proxy is that is given by name. */
  async resolve(host: string, signal: AbortSignal): Promise<readonly string[]> {
    const found = await Promise.allSettled(
      this.#options.families.map(
        async (family) =>
          this.#options.hosts(host, family) ?? (await this.#lookups.lookup(host, family, signal)).addresses,
      ),
    );
    const addresses = found.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
    const failed = found.find((one) => one.status === 'rejected');
    if (addresses.length === 0 && failed !== undefined) throw failed.reason;
    return addresses;
  }

  #plainServers(): readonly UpstreamServer[] {
    const plain = this.servers().filter(
      ({ protocol, dialer, suffixes }) =>
        (protocol === 'udp' || protocol === 'tcp') && dialer === undefined && suffixes === undefined,
    );
    return plain.length > 0 ? plain : this.#options.system();
  }
}
