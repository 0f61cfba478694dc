/**
 * The network behind the host: a namespace whose only way to anywhere is the host's device `lan0`, and in which flows
 * begin that the host is to pass on. network_namespaces(7).
 */
import { libc, enterNetns, O_CLOEXEC, O_RDONLY, checked } from '@weir/core/sys';
import { enterFreshNamespace, shell } from '@weir/core/testing';
import { SOURCES } from './world.ts';

/** The host's device towards the clients. */
export const LAN_DEVICE = 'lan0';

export class Lan implements Disposable {
  readonly #clients: number;
  readonly #host: number;

  /** Leaves the calling thread in the host's namespace, which has an uplink and passes packets on. */
  constructor() {
    enterFreshNamespace();
    this.#clients = openNetns();
    enterFreshNamespace({ uplink: true });
    this.#host = openNetns();
    shell(`ip link add ${LAN_DEVICE} type veth peer name eth0 netns /proc/${process.pid}/fd/${this.#clients}
      ip addr add 10.2.0.1/24 dev ${LAN_DEVICE}; ip -6 addr add fd00:2::1/64 dev ${LAN_DEVICE} nodad
      ip link set ${LAN_DEVICE} up
      sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
      ip route add ${SOURCES[4]} via 10.2.0.2; ip -6 route add ${SOURCES[6]} via fd00:2::2`);
    this.within(() =>
      shell(`ip addr add 10.2.0.2/24 dev eth0; ip -6 addr add fd00:2::2/64 dev eth0 nodad; ip link set eth0 up
        ip route add default via 10.2.0.1; ip -6 route add default via fd00:2::1
        ip route add local ${SOURCES[4]} dev lo; ip -6 route add local ${SOURCES[6]} dev lo
        for i in $(seq 100); do ping -6 -n -q -c 1 -W 1 fd00:2::1 > /dev/null && exit; sleep 0.01; done; exit 1`),
    );
  }

  /** Does this where the clients are: sockets that it opens stay there. */
  within<T>(work: () => T): T {
    enterNetns(`/proc/self/fd/${this.#clients}`);
    try {
      return work();
    } finally {
      enterNetns(`/proc/self/fd/${this.#host}`);
    }
  }

  [Symbol.dispose](): void {
    libc.close(this.#clients);
    libc.close(this.#host);
  }
}

/** Of the calling thread. */
function openNetns(): number {
  const path = '/proc/thread-self/ns/net';
  return checked(libc.open(path, O_RDONLY | O_CLOEXEC, 0), `open(${path})`, 'Mount /proc.');
}
