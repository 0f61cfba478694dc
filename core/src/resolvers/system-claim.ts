/** Pointing the host at Weir in the way that `resolver.reach` says, keeping it so, and back. */
import { WeirError } from '../api/errors.ts';
import type { HostChanges } from '../api/host.ts';
import type { Drift } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import type { DnsListen, Reach } from '../config/model.ts';
import type { Assignment } from '../dns/address-pool.ts';
import { CAPTURED_QUERIES_ID, capturedQueriesChange } from '../dns/captured-queries.ts';
import { hostsChange, hostsChangeId, writeHosts } from '../dns/hosts-claim.ts';
import { resolveReach, type ResolvedReach } from '../dns/reach.ts';
import {
  capturedShare,
  hostServers,
  listenersOf,
  type CaptureMeans,
  type ResolverListeners,
} from '../dns/reach-capture.ts';
import { ResolvedLink, resolvedChangeId } from '../dns/resolved.ts';
import { resolvConfChange, resolvConfChangeId, type ResolvConfPlace } from '../dns/resolv-conf-claim.ts';
import { findOverwritten, takeUpAgain } from '../dns/resolv-conf-overwritten.ts';

/** Capturing queries, as the engine offers it. */
export interface QueryCapture extends CaptureMeans {
  /** Whether queries of all processes are captured. */
  readonly everyone: boolean;
  /** Carries port 53 of these servers to the listeners from now on, and of no others. */
  readonly steer: (servers: readonly string[], listeners: ResolverListeners) => Promise<void>;
}

export interface SystemClaimOptions {
  readonly reach: Reach;
  readonly place: Required<ResolvConfPlace>;
  readonly host: HostChanges;
  readonly log: Logger;
  /** The configured names with their addresses, for a hosts file. */
  readonly names: () => readonly Assignment[];
  /** What services name: exact names, patterns, exclusions. */
  readonly patterns: () => readonly string[];
  /** Absent: nothing can be captured. */
  readonly capture?: QueryCapture;
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
  #listening: readonly DnsListen[] = [];
  /** Why `capture` was given up in this run. */
  #notByCapture: string | undefined;

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
    const { reach: wanted, place, host, log, capture } = this.#options;
    const { owner, path } = place;
    const hasPatterns = this.#options.patterns().some((pattern) => /[*?]/.test(pattern));
    const reach = await resolveReach({
      reach: wanted,
      listening,
      owner,
      hasPatterns,
      resolvConfPath: path,
      ...(capture === undefined ? {} : { capture }),
      ...(this.#notByCapture === undefined ? {} : { notByCapture: this.#notByCapture }),
    });
    this.#listening = listening;
    prepare(reach);
    const report = (line: string): void => log.warn({ path }, line);
    if (reach.kind === 'capture') {
      const { stateDirectory } = place;
      await host.change(capturedQueriesChange({ ...reach, stateDirectory, steer: (servers) => this.#steer(servers) }));
    } else if (reach.kind === 'resolv-conf') {
      await host.change(resolvConfChange({ ...place, nameservers: reach.nameservers, report }));
    } else if (reach.kind === 'systemd-resolved') {
      await host.change(this.#resolved.change({ owner, server: reach.server, domains: this.#domains() }));
    } else if (reach.kind === 'hosts') {
      await host.change(hostsChange({ ...place, path: reach.path, names: this.#options.names(), report: () => {} }));
    }
    this.#reach = reach;
    const found = { reach: reach.kind, reason: reach.reason };
    if (reach.kind === 'none' && this.#options.reach === 'auto') {
      log.warn(found, 'nothing points this host at the resolver; weir doctor says what would');
    } else log.info(found, 'resolver reach');
    return reach;
  }

  /**
   * Gives `capture` up when `auto` chose it: it was tried, and the host's queries did not get here.
   * @returns whether another way may be claimed now.
   */
  async giveUpCapture(why: string): Promise<boolean> {
    if (this.#options.reach !== 'auto' || this.#reach.kind !== 'capture') return false;
    const { interceptor } = this.#options.capture as QueryCapture;
    await this.release();
    this.#notByCapture = `${interceptor} did not capture a query of this host: ${why}`;
    return true;
  }

  /** Takes the names of a new configuration where the way has a place for names. @throws as `claim`. */
  async update(): Promise<void> {
    const { place, names } = this.#options;
    if (this.#reach.kind === 'systemd-resolved') await this.#resolved.update(this.#domains());
    else if (this.#reach.kind === 'hosts') writeHosts({ ...place, path: this.#reach.path, names: names() });
  }

  /**
   * The host may have other servers now: those are captured.
   * @returns whether it has.
   */
  async follow(): Promise<boolean> {
    const { capture, log, place } = this.#options;
    const reach = this.#reach;
    if (reach.kind !== 'capture' || capture === undefined) return false;
    const { file, addresses, viaResolved } = hostServers(place.path);
    // Another program keeps the file now: what it names is what is asked.
    const { servers, left } = capturedShare(addresses, this.#listening, capture);
    if (servers.join() === reach.servers.join() && viaResolved === reach.viaResolved) return false;
    await this.#steer(servers);
    const reason = `${file} names ${addresses.join(', ') || 'no server'} now; ${capture.interceptor} captures port 53 of ${servers.join(', ') || 'none'}`;
    this.#reach = { kind: 'capture', servers, viaResolved, reason };
    if (servers.length === 0 || left.length > 0) {
      log.warn({ reason, left }, 'the host asks servers now whose queries cannot be captured: names do not reach Weir');
    } else log.info({ reason }, 'the host asks other servers now, and what is captured has followed');
    return true;
  }

  /** Whether resolv.conf is still as Weir wrote it. */
  verify(): Promise<readonly Drift[]> {
    if (this.#reach.kind !== 'resolv-conf') return Promise.resolve([]);
    const { path } = this.#options.place;
    const found = findOverwritten({ ...this.#options.place, nameservers: this.#reach.nameservers });
    if (found === undefined) return Promise.resolve([]);
    const expected = `nameserver ${this.#reach.nameservers.join(', ')}, written by Weir`;
    return Promise.resolve([{ object: path, expected, found }]);
  }

  /**
   * Takes resolv.conf up again; what somebody wrote is what is put back at the end.
   * @throws WeirError WEIR_RESOLV_CONF when the file cannot be written any more, or is being written.
   */
  async repair(): Promise<void> {
    if (this.#reach.kind !== 'resolv-conf') return;
    await takeUpAgain({ ...this.#options.place, nameservers: this.#reach.nameservers });
  }

  /** Idempotent. */
  async release(): Promise<void> {
    const { place, host } = this.#options;
    const reach = this.#reach;
    if (reach.kind === 'none') return;
    if (reach.kind === 'capture') await host.undo(CAPTURED_QUERIES_ID);
    else if (reach.kind === 'resolv-conf') await host.undo(resolvConfChangeId(place.path));
    else if (reach.kind === 'hosts') await host.undo(hostsChangeId(reach.path));
    else await host.undo(resolvedChangeId(place.owner));
    this.#reach = { kind: 'none', reason: 'given back' };
  }

  async #steer(servers: readonly string[]): Promise<void> {
    const { capture } = this.#options;
    if (capture === undefined)
      throw new WeirError('WEIR_REACH_CAPTURE', {
        problem: 'There is nothing that could capture queries.',
        remedy: 'Set resolver.reach to another way.',
      });
    await capture.steer(servers, servers.length === 0 ? {} : listenersOf(this.#listening));
  }

  #domains(): readonly string[] {
    return this.#options.patterns().flatMap((pattern) => domainOf(pattern) ?? []);
  }
}
