/** How the host's queries get to Weir: what the configuration asks for, and what this host allows. */
import { existsSync } from 'node:fs';
import { ConfigurationError, WeirError } from '../api/errors.ts';
import type { Endpoint } from '../api/flow.ts';
import { familyOf } from '../capture/address.ts';
import type { DnsListen, Reach } from '../config/model.ts';
import { findHostsObstacle } from './hosts-claim.ts';
import { reachable } from './own-endpoints.ts';
import { capturedShare, captureObstacle, hostServers, type CaptureMeans } from './reach-capture.ts';
import { formatListen } from './listen-failure.ts';
import { findResolvedObstacle, waysToResolved } from './resolved.ts';
import { findObstacle, RESOLV_CONF, type Obstacle } from './resolv-conf-claim.ts';

/** libc asks this port; resolv.conf has no place for another one. */
const DNS_PORT = 53;

export type ResolvedReach =
  | {
      readonly kind: 'capture';
      readonly servers: readonly string[];
      /** Whether they are those that systemd-resolved asks. */
      readonly viaResolved: boolean;
      readonly reason: string;
    }
  | { readonly kind: 'resolv-conf'; readonly nameservers: readonly string[]; readonly reason: string }
  | { readonly kind: 'systemd-resolved'; readonly server: Endpoint; readonly reason: string }
  | { readonly kind: 'hosts'; readonly path: string; readonly reason: string }
  | { readonly kind: 'none'; readonly reason: string };

export interface ReachInput {
  readonly reach: Reach;
  readonly listening: readonly DnsListen[];
  readonly owner: string;
  /** Whether a service names patterns: a hosts file has no place for them. */
  readonly hasPatterns: boolean;
  readonly resolvConfPath?: string;
  /** What can be captured; absent: nothing. */
  readonly capture?: CaptureMeans;
  /** Why `auto` must not choose `capture`. */
  readonly notByCapture?: string;
}

/** The addresses under which a local client reaches listeners that libc can be pointed at. */
function nameserversOf(listening: readonly DnsListen[]): readonly string[] {
  const addresses = listening
    .filter(({ protocol, endpoint }) => protocol === 'udp' && endpoint.port === DNS_PORT)
    .map(({ endpoint }) => reachable(endpoint.address));
  return [...new Set(addresses)].toSorted((a, b) => familyOf(a) - familyOf(b));
}

function portObstacle(listening: readonly DnsListen[]): Obstacle {
  const where = listening.map(formatListen).join(', ') || 'nowhere';
  return {
    problem: `The resolver listens on ${where}, and resolv.conf can name servers on udp port 53 only.`,
    remedy: 'Add a listener such as udp://127.0.0.1:53 to resolver.listen, or set resolver.reach: none.',
  };
}

/** By name, and an obstacle is an error; by `auto`, and it is the reason for another way. */
type Attempt = { readonly reach: ResolvedReach } | { readonly obstacle: Obstacle };

function byResolvConf({ listening, owner, resolvConfPath: path = RESOLV_CONF }: ReachInput): Attempt {
  const nameservers = nameserversOf(listening);
  const obstacle = nameservers.length === 0 ? portObstacle(listening) : findObstacle({ owner, path });
  if (obstacle !== undefined) return { obstacle };
  const reason = `${path} is a regular file that can be written`;
  return { reach: { kind: 'resolv-conf', nameservers, reason } };
}

async function byResolved({ listening }: ReachInput, why: string): Promise<Attempt> {
  const listener = listening.find(({ protocol }) => protocol === 'udp');
  if (listener === undefined) {
    return {
      obstacle: {
        problem: 'systemd-resolved asks over UDP, and the resolver does not listen there.',
        remedy: 'Add a listener such as udp://127.0.0.1:53 to resolver.listen, or set resolver.reach: none.',
      },
    };
  }
  const problem = await findResolvedObstacle();
  if (problem !== undefined) {
    const remedy = 'Start it (systemctl start systemd-resolved), or set resolver.reach to another way.';
    return { obstacle: { problem: `${problem}.`, remedy } };
  }
  const server = { address: reachable(listener.endpoint.address), port: listener.endpoint.port };
  return { reach: { kind: 'systemd-resolved', server, reason: why } };
}

/** @param whole whether every server must be captured: libc asks them all, and one that is not knows no name of Weir's. */
function byCapture({ listening, capture, resolvConfPath: path = RESOLV_CONF }: ReachInput, whole: boolean): Attempt {
  const obstacle = captureObstacle(listening, capture);
  if (obstacle !== undefined || capture === undefined) return { obstacle: obstacle as Obstacle };
  const { file, addresses, viaResolved } = hostServers(path);
  const { servers, left } = capturedShare(addresses, listening, capture);
  const leftOut = left.map(({ address, why }) => `${address} is left out: ${why}`).join('; ');
  if (servers.length === 0 || (whole && left.length > 0)) {
    const none = `${file} names no server whose port 53 could be captured`;
    return {
      obstacle: {
        problem: left.length === 0 ? `${none}.` : `${none} whole: ${leftOut}.`,
        remedy: 'Name a server there that the interceptor can capture, or set resolver.reach to another way.',
      },
    };
  }
  const whose = viaResolved ? `systemd-resolved asks ${servers.join(', ')}` : `${file} names ${servers.join(', ')}`;
  const reason = `${whose}, and ${capture.interceptor} captures port 53 of it`;
  const rest = left.length > 0 ? `; ${leftOut}` : '';
  return { reach: { kind: 'capture', servers, viaResolved, reason: `${reason}; no file is changed${rest}` } };
}

function byHosts(path: string, { hasPatterns }: ReachInput): Attempt {
  if (hasPatterns) {
    throw new ConfigurationError([], {
      problem: `resolver.reach: hosts://${path} cannot reach services that name patterns: a hosts file has no place for them.`,
      remedy: 'Name each name, or set resolver.reach to another way.',
    });
  }
  const obstacle = findHostsObstacle(path);
  if (obstacle !== undefined) return { obstacle };
  const reason = 'the configuration says so; only programs that look into that file see the names';
  return { reach: { kind: 'hosts', path, reason } };
}

function required(attempt: Attempt, code: string): ResolvedReach {
  if ('reach' in attempt) return attempt.reach;
  throw new WeirError(code, attempt.obstacle);
}

/**
 * First what changes least and sees most: systemd-resolved where it is asked, which then asks Weir for every program; then
 * capture, which touches no file; then resolv.conf.
 */
async function byItself(input: ReachInput): Promise<ResolvedReach> {
  const passed: string[] = [];
  const ways = waysToResolved(input.resolvConfPath ?? RESOLV_CONF);
  if (ways !== undefined) {
    const attempt = await byResolved(input, ways);
    if ('reach' in attempt) return attempt.reach;
    passed.push(attempt.obstacle.problem);
  }
  for (const way of [byCaptureUnlessBarred, byResolvConf]) {
    const attempt = way(input);
    if ('reach' in attempt) {
      const { reach } = attempt;
      return passed.length === 0 ? reach : { ...reach, reason: `${reach.reason} (${passed.join(' ')})` };
    }
    passed.push(attempt.obstacle.problem);
  }
  // resolv.conf(5), and the same in musl.
  if (!existsSync(input.resolvConfPath ?? RESOLV_CONF) && nameserversOf(input.listening).includes('127.0.0.1')) {
    passed.push('Without it programs ask 127.0.0.1, where the resolver listens, until somebody writes it.');
  }
  return { kind: 'none', reason: passed.join(' ') };
}

function byCaptureUnlessBarred(input: ReachInput): Attempt {
  const { notByCapture: problem } = input;
  return problem === undefined ? byCapture(input, true) : { obstacle: { problem, remedy: '' } };
}

/**
 * Decides what `claimSystem` does. Looks at files and asks systemd-resolved, changes nothing.
 * @throws ConfigurationError for patterns in a hosts file; WeirError when a way was asked for by name and is not possible.
 */
export async function resolveReach(input: ReachInput): Promise<ResolvedReach> {
  const { reach } = input;
  if (reach === 'none') return { kind: 'none', reason: 'the configuration says so' };
  if (reach === 'capture') return required(byCapture(input, false), 'WEIR_REACH_CAPTURE');
  if (reach === 'resolv-conf') return required(byResolvConf(input), 'WEIR_RESOLV_CONF');
  if (reach === 'systemd-resolved') {
    return required(await byResolved(input, 'the configuration says so'), 'WEIR_RESOLVED');
  }
  return reach === 'auto' ? byItself(input) : required(byHosts(reach.hosts, input), 'WEIR_HOSTS');
}
