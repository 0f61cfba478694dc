/** How the host's queries get to Weir: what the configuration asks for, and what this host allows. */
import { ConfigurationError, WeirError } from '../api/errors.ts';
import { familyOf } from '../capture/address.ts';
import type { DnsListen, Reach } from '../config/model.ts';
import { formatListen } from './listen-failure.ts';
import { findObstacle, RESOLV_CONF, type Obstacle } from './resolv-conf-claim.ts';

/** libc asks this port; resolv.conf has no place for another one. */
const DNS_PORT = 53;

export type ResolvedReach =
  | { readonly kind: 'resolv-conf'; readonly nameservers: readonly string[]; readonly reason: string }
  | { readonly kind: 'none'; readonly reason: string };

export interface ReachInput {
  readonly reach: Reach;
  readonly listening: readonly DnsListen[];
  readonly owner: string;
  readonly resolvConfPath?: string;
}

/** The addresses under which a local client reaches listeners that libc can be pointed at. */
function nameserversOf(listening: readonly DnsListen[]): readonly string[] {
  const addresses = listening
    .filter(({ protocol, endpoint }) => protocol === 'udp' && endpoint.port === DNS_PORT)
    .map(({ endpoint: { address } }) => (address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address));
  return [...new Set(addresses)].toSorted((a, b) => familyOf(a) - familyOf(b));
}

function portObstacle(listening: readonly DnsListen[]): Obstacle {
  const where = listening.map(formatListen).join(', ') || 'nowhere';
  return {
    problem: `The resolver listens on ${where}, and resolv.conf can name servers on udp port 53 only.`,
    remedy: 'Add a listener such as udp://127.0.0.1:53 to resolver.listen, or set resolver.reach: none.',
  };
}

/**
 * Decides what `claimSystem` does. Looks at the file system, changes nothing.
 * @throws ConfigurationError for a reach that is not built; WeirError WEIR_RESOLV_CONF when `resolv-conf` was asked for
 * by name and is not possible.
 */
export function resolveReach(input: ReachInput): ResolvedReach {
  const { reach, listening, owner, resolvConfPath: path = RESOLV_CONF } = input;
  if (reach === 'none') return { kind: 'none', reason: 'the configuration says so' };
  if (reach !== 'auto' && reach !== 'resolv-conf') {
    const word = typeof reach === 'object' ? `hosts://${reach.hosts}` : reach;
    throw new ConfigurationError([], {
      problem: `resolver.reach: ${word} is not built yet.`,
      remedy: 'Set it to auto, resolv-conf or none.',
    });
  }
  const nameservers = nameserversOf(listening);
  const obstacle = nameservers.length === 0 ? portObstacle(listening) : findObstacle({ owner, path });
  if (obstacle === undefined) {
    return { kind: 'resolv-conf', nameservers, reason: `${path} is a regular file that can be written` };
  }
  if (reach === 'auto') return { kind: 'none', reason: obstacle.problem };
  throw new WeirError('WEIR_RESOLV_CONF', obstacle);
}
