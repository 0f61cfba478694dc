/**
 * A network namespace for the calling thread, for tests that make system calls themselves (koffi) and need no process in
 * between. Child processes that the thread starts are born in it. It goes when nothing refers to it any more. Tests that
 * need several hosts or real programs take a `TestNetwork` instead.
 */
import { spawnSync } from 'node:child_process';
import { netnsInode, unshareNetns } from '../sys/netns.ts';

const machine = netnsInode();

/** A host with 10,000 rules says a few megabytes of them. */
const OUTPUT_LIMIT = 64 * 1024 * 1024;

/** Runs a shell command where the thread is. @returns its standard output. @throws Error with both when it fails. */
export function shell(command: string, input = ''): string {
  const { status, stdout, stderr, error } = spawnSync('sh', ['-ec', command], {
    input,
    encoding: 'utf8',
    maxBuffer: OUTPUT_LIMIT,
  });
  if (status === 0) return stdout;
  throw new Error(`${command}: ${error?.message ?? `exit ${status}`}\n${stdout}${stderr}`);
}

/**
 * Leaves for a new namespace with lo up. `uplink`: also a device `up0` with 10.1.0.2/24 and 2001:db8:1::2/64, and default
 * routes over it; what goes out there arrives at the device `up1` of the same namespace, and nobody answers.
 * @throws NotPermittedError without CAP_SYS_ADMIN.
 */
export function enterFreshNamespace({ uplink = false }: { readonly uplink?: boolean } = {}): void {
  unshareNetns();
  if (netnsInode() === machine) throw new Error('the thread is still in the namespace of the machine');
  shell('for s in all default; do echo 0 > /proc/sys/net/ipv6/conf/$s/accept_dad; done; ip link set lo up');
  if (!uplink) return;
  // Without ARP and neighbour discovery packets to anybody go out at once.
  shell(`ip link add up0 address 02:00:00:00:00:01 type veth peer name up1 address 02:00:00:00:00:02
    ip link set up0 arp off; ip link set up1 arp off; ip link set up1 up; ip link set up0 up
    ip addr add 10.1.0.2/24 dev up0; ip -6 addr add 2001:db8:1::2/64 dev up0 nodad
    ip route add default dev up0; ip -6 route add default dev up0
    # The kernel gives the links their own addresses a moment later: a snapshot must not be taken before.
    [ -d /proc/sys/net/ipv6 ] || exit 0
    for i in $(seq 100); do
      [ "$(ip -6 route show table local | grep -c '^local fe80:')" -ge 2 ] && break; sleep 0.01
    done`);
}
