/**
 * What leads traffic to the peers, as an administrator of each would load it at boot: the least that works. Weir brings its
 * own.
 */
import type { Task } from '../candidate.ts';

/** Nobody: no other process of the client host runs as it, and what it opens is a peer's own connection. */
export const PEER_UID = 65_534;
export const PEER_PORT = 15_001;
const MARK = 1;
const TABLE = 100;

/** How a peer's own connections are told apart. */
export type Exempt = 'uid' | { readonly mark: number };

export interface Steering {
  readonly kind: 'tproxy' | 'redirect';
  readonly exempt: Exempt;
  /** UDP as well; `tproxy` only. */
  readonly udp?: boolean;
}

const exemption = (exempt: Exempt) => (exempt === 'uid' ? `meta skuid ${PEER_UID}` : `meta mark ${exempt.mark}`);

/** Marks without connection tracking. */
function tproxyRules({ prefix, ports }: Task, { exempt, udp }: Steering): string {
  const protocols = udp ? '{ tcp, udp }' : 'tcp';
  return `table ip bench_peer {
  chain out {
    type route hook output priority mangle; policy accept;
    ${exemption(exempt)} return
    ip daddr ${prefix} meta l4proto ${protocols} th dport { ${ports.join(', ')} } meta mark set ${MARK}
  }
  chain pre {
    type filter hook prerouting priority mangle; policy accept;
    meta mark ${MARK} meta l4proto ${protocols} tproxy to 127.0.0.1:${PEER_PORT} accept
  }
}
`;
}

/** Each port to a listener of its own: PEER_PORT, PEER_PORT + 1, … in the order of the task. */
function redirectRules({ prefix, ports }: Task, { exempt }: Steering): string {
  const map = ports.map((port, n) => `${port} : ${PEER_PORT + n}`).join(', ');
  return `table ip bench_peer {
  chain out {
    type nat hook output priority -100; policy accept;
    ${exemption(exempt)} return
    ip daddr ${prefix} meta l4proto tcp redirect to :tcp dport map { ${map} }
  }
}
`;
}

const ROUTING = [
  ['ip', 'rule', '%', 'fwmark', String(MARK), 'lookup', String(TABLE)],
  ['ip', 'route', '%', 'local', '0.0.0.0/0', 'dev', 'lo', 'table', String(TABLE)],
];

export async function steer(task: Task, steering: Steering): Promise<void> {
  const redirect = steering.kind === 'redirect';
  const input = redirect ? redirectRules(task, steering) : tproxyRules(task, steering);
  await task.client.check(['nft', '-f', '/dev/stdin'], { input });
  if (redirect) return;
  for (const command of ROUTING) await task.client.check(command.map((word) => (word === '%' ? 'add' : word)));
}

export async function unsteer(task: Task, steering: Steering): Promise<void> {
  if (steering.kind === 'tproxy') {
    for (const command of ROUTING) await task.client.check(command.map((word) => (word === '%' ? 'del' : word)));
  }
  await task.client.check(['nft', 'delete', 'table', 'ip', 'bench_peer']);
}
