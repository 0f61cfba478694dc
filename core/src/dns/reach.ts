/** How the host's queries get to Weir: what the configuration asks for, and what this host allows. */
import { ConfigurationError, UnsupportedError, WeirError } from '../api/errors.ts';
import type { Endpoint } from '../api/flow.ts';
import { familyOf } from '../capture/address.ts';
import type { DnsListen, Reach } from '../config/model.ts';
import { findHostsObstacle } from './hosts-claim.ts';
import { formatListen } from './listen-failure.ts';
import { findResolvedObstacle, waysToResolved } from './resolved.ts';
import { findObstacle, RESOLV_CONF, type Obstacle } from './resolv-conf-claim.ts';

/** libc asks this port; resolv.conf has no place for another one. */
const DNS_PORT = 53;

export type ResolvedReach =
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
}

/** Linux takes a connection to the unspecified address as one to loopback. */
function reachable(address: string): string {
  return address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
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

async function byItself(input: ReachInput): Promise<ResolvedReach> {
  const ways = waysToResolved(input.resolvConfPath ?? RESOLV_CONF);
  if (ways !== undefined) {
    const attempt = await byResolved(input, ways);
    if ('reach' in attempt) return attempt.reach;
    const other = byResolvConf(input);
    if ('reach' in other) return { ...other.reach, reason: `${other.reach.reason}; ${attempt.obstacle.problem}` };
    return { kind: 'none', reason: `${attempt.obstacle.problem} ${other.obstacle.problem}` };
  }
  const attempt = byResolvConf(input);
  return 'reach' in attempt ? attempt.reach : { kind: 'none', reason: attempt.obstacle.problem };
}

/**
 * Decides what `claimSystem` does. Looks at files and asks systemd-resolved, changes nothing.
 * @throws UnsupportedError for a reach that is not built; ConfigurationError for patterns in a hosts file; WeirError when a
 * way was asked for by name and is not possible.
 */
export async function resolveReach(input: ReachInput): Promise<ResolvedReach> {
  const { reach } = input;
  if (reach === 'none') return { kind: 'none', reason: 'the configuration says so' };
  if (reach === 'capture') {
    throw new UnsupportedError({
      problem: 'resolver.reach: capture is not built yet.',
      remedy: 'Set it to auto, resolv-conf, systemd-resolved, hosts:///etc/hosts or none.',
    });
  }
  if (reach === 'resolv-conf') return required(byResolvConf(input), 'WEIR_RESOLV_CONF');
  if (reach === 'systemd-resolved') {
    return required(await byResolved(input, 'the configuration says so'), 'WEIR_RESOLVED');
  }
  return reach === 'auto' ? byItself(input) : required(byHosts(reach.hosts, input), 'WEIR_HOSTS');
}
