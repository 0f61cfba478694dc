/**
 * `resolver.reach: capture`: no file is touched; port 53 of the servers that the host asks is captured, as any service is.
 * Where systemd-resolved stands in between, those are the servers that it asks itself: so that also programs are seen that
 * ask it by D-Bus or varlink. Looks at files only.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { Endpoint, Family, Protocol } from '../api/flow.ts';
import { addressToBytes, bytesToAddress, familyOf } from '../capture/address.ts';
import type { DnsListen } from '../config/model.ts';
import { OwnEndpoints, reachable } from './own-endpoints.ts';
import { parseResolvConf } from './resolv-conf.ts';
import type { Obstacle } from './resolv-conf-claim.ts';
import { RESOLVED_UPLINKS, waysToResolved } from './resolved.ts';

/** Docker's resolver in a container: its NAT rules change the port before any mechanism can tell where a query went. */
const DOCKER_RESOLVER = '127.0.0.11';
/** Servers that are captured at most: resolved has those of every link. */
const MOST_SERVERS = 32;

/** What the run can capture; from the interceptor that was selected and the configuration. */
export interface CaptureMeans {
  /** Id of the interceptor. */
  readonly interceptor: string;
  /** Families of which it captures UDP. */
  readonly families: readonly Family[];
  /** Whether it captures what this host sends, and not only what it passes on. */
  readonly output: boolean;
  /** Whether it captures what this host sends to its own addresses, loopback among them. */
  readonly ownAddresses: boolean;
  /** This host's own addresses, as the kernel has them now. */
  readonly own: () => readonly string[];
  /** Those of the servers that would really come to the resolver: no exclusion and no service has them. */
  readonly wins: (addresses: readonly string[], listeners: ResolverListeners) => readonly string[];
}

/** Where captured queries are carried to. */
export type ResolverListeners = Readonly<Partial<Record<Protocol, Endpoint>>>;

export interface HostServers {
  /** The file that names them. */
  readonly file: string;
  readonly addresses: readonly string[];
  /** Whether they are those that systemd-resolved asks. */
  readonly viaResolved: boolean;
}

/** The servers that the host asks, or that systemd-resolved asks for it; without zones, each once. */
export function hostServers(resolvConfPath: string): HostServers {
  const viaResolved = waysToResolved(resolvConfPath) !== undefined && existsSync(RESOLVED_UPLINKS);
  const file = viaResolved ? RESOLVED_UPLINKS : resolvConfPath;
  let text = '';
  try {
    text = readFileSync(file, 'latin1');
  } catch {
    // Names none then.
  }
  const { nameservers } = parseResolvConf(text, viaResolved ? MOST_SERVERS : undefined);
  const addresses = nameservers.map((address) => bytesToAddress(addressToBytes(address.replace(/%.*/, ''))));
  return { file, addresses: [...new Set(addresses)], viaResolved };
}

export function listenersOf(listening: readonly DnsListen[]): ResolverListeners {
  const of = (protocol: Protocol): Endpoint | undefined => {
    const found = listening.find((one) => one.protocol === protocol)?.endpoint;
    return found && { address: reachable(found.address), port: found.port };
  };
  const [udp, tcp] = [of('udp'), of('tcp')];
  return { ...(udp === undefined ? {} : { udp }), ...(tcp === undefined ? {} : { tcp }) };
}

export interface CapturedShare {
  /** Can be captured. */
  readonly servers: readonly string[];
  /** Cannot, and why. Weir's own listeners are in neither list: their queries get here anyway. */
  readonly left: ReadonlyArray<{ readonly address: string; readonly why: string }>;
}

/** Which of the servers can be captured. */
export function capturedShare(
  addresses: readonly string[],
  listening: readonly DnsListen[],
  means: CaptureMeans,
): CapturedShare {
  const ours = new OwnEndpoints(listening);
  const own = new Set(means.own());
  const isOwn = (address: string): boolean => address.startsWith('127.') || address === '::1' || own.has(address);
  const others = addresses.filter((address) => !ours.has({ address, port: 53 }));
  const listeners = listenersOf(listening);
  const wins = new Set(means.wins(others, listeners));
  const why = (address: string): string | undefined => {
    const family = familyOf(address);
    if (!means.families.includes(family)) return `${means.interceptor} captures no UDP of IPv${family} here`;
    if (address === DOCKER_RESOLVER) return 'it is the resolver of a container, which NAT hides';
    if (isOwn(address) && !means.ownAddresses) return `${means.interceptor} cannot capture addresses of this host`;
    return wins.has(address) ? undefined : 'it is excluded, or a service has its port 53';
  };
  const judged = others.map((address) => ({ address, why: why(address) }));
  return {
    servers: judged.flatMap(({ address, why: reason }) => (reason === undefined ? [address] : [])),
    left: judged.flatMap(({ address, why: reason }) => (reason === undefined ? [] : [{ address, why: reason }])),
  };
}

/** Why nothing can be captured whatever the servers are; undefined when something may be. */
export function captureObstacle(
  listening: readonly DnsListen[],
  means: CaptureMeans | undefined,
): Obstacle | undefined {
  const otherwise = 'or set resolver.reach to another way.';
  if (means === undefined || means.families.length === 0) {
    const problem = `${means?.interceptor ?? 'The interceptor'} captures no UDP, so that it cannot capture queries.`;
    return { problem, remedy: `Use an interceptor that captures UDP, such as nft, ${otherwise}` };
  }
  if (!means.output) {
    const problem = 'Only forwarded traffic is captured, so that queries of this host are not.';
    return { problem, remedy: `Add output to capture.scopes, ${otherwise}` };
  }
  if (listenersOf(listening).udp === undefined) {
    const problem = 'The resolver does not listen on UDP, so that captured queries could not be carried to it.';
    return { problem, remedy: `Add a listener such as udp://127.0.0.1:53 to resolver.listen, ${otherwise}` };
  }
  return undefined;
}
