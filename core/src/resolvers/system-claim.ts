/** Pointing the host at Weir in the way that `resolver.reach` says, and back. */
import type { HostChanges } from '../api/host.ts';
import type { Logger } from '../api/logger.ts';
import type { DnsListen, Reach } from '../config/model.ts';
import type { Assignment } from '../dns/address-pool.ts';
import { hostsChange, hostsChangeId, writeHosts } from '../dns/hosts-claim.ts';
import { resolveReach, type ResolvedReach } from '../dns/reach.ts';
import { ResolvedLink, resolvedChangeId } from '../dns/resolved.ts';
import { resolvConfChange, resolvConfChangeId, type ResolvConfPlace } from '../dns/resolv-conf-claim.ts';

export interface SystemClaimOptions {
  readonly reach: Reach;
  readonly place: Required<ResolvConfPlace>;
  readonly host: HostChanges;
  readonly log: Logger;
  /** The configured names with their addresses, for a hosts file. */
  readonly names: () => readonly Assignment[];
  /** What services name: exact names, patterns, exclusions. */
  readonly patterns: () => readonly string[];
}

/** The literal end of a name or a pattern; undefined where there is none, and for what is excluded. */
function domainOf(pattern: string): string | undefined {
  if (pattern.startsWith('!')) return undefined;
  const labels = pattern.split('.');
  const wild = labels.findLastIndex((label) => /[*?]/.test(label));
  return labels.slice(wild + 1).join('.') || undefined;
}

export class SystemClaim {
  readonly #options: SystemClaimOptions;
  readonly #resolved: ResolvedLink;
  #reach: ResolvedReach = { kind: 'none', reason: 'the host was not pointed at Weir' };

  constructor(options: SystemClaimOptions) {
    this.#options = options;
    this.#resolved = new ResolvedLink(options.place.owner);
  }

  get reach(): ResolvedReach {
    return this.#reach;
  }

  /**
   * As one change of the host.
   * @param prepare called with what was decided, before the host is changed
   * @throws as resolveReach; HostChangeError, WeirError; the host is as it was then.
   */
  async claim(listening: readonly DnsListen[], prepare: (reach: ResolvedReach) => void): Promise<ResolvedReach> {
    const { reach: wanted, place, host, log } = this.#options;
    const { owner, path } = place;
    const hasPatterns = this.#options.patterns().some((pattern) => /[*?]/.test(pattern));
    const reach = await resolveReach({ reach: wanted, listening, owner, hasPatterns, resolvConfPath: path });
    prepare(reach);
    const report = (line: string): void => log.warn({ path }, line);
    if (reach.kind === 'resolv-conf') {
      await host.change(resolvConfChange({ ...place, nameservers: reach.nameservers, report }));
    } else if (reach.kind === 'systemd-resolved') {
      await host.change(this.#resolved.change({ owner, server: reach.server, domains: this.#domains() }));
    } else if (reach.kind === 'hosts') {
      await host.change(hostsChange({ ...place, path: reach.path, names: this.#options.names(), report: () => {} }));
    }
    this.#reach = reach;
    log.info({ reach: reach.kind, reason: reach.reason }, 'resolver reach');
    return reach;
  }

  /** Takes the names of a new configuration where the way has a place for names. @throws as `claim`. */
  async update(): Promise<void> {
    const { place, names } = this.#options;
    if (this.#reach.kind === 'systemd-resolved') await this.#resolved.update(this.#domains());
    else if (this.#reach.kind === 'hosts') writeHosts({ ...place, path: this.#reach.path, names: names() });
  }

  /** Idempotent. */
  async release(): Promise<void> {
    const { place, host } = this.#options;
    const reach = this.#reach;
    if (reach.kind === 'none') return;
    if (reach.kind === 'resolv-conf') await host.undo(resolvConfChangeId(place.path));
    else if (reach.kind === 'hosts') await host.undo(hostsChangeId(reach.path));
    else await host.undo(resolvedChangeId(place.owner));
    this.#reach = { kind: 'none', reason: 'given back' };
  }

  #domains(): readonly string[] {
    return this.#options.patterns().flatMap((pattern) => domainOf(pattern) ?? []);
  }
}
