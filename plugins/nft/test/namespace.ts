/**
 * A fresh network namespace for this test process: `unshare` moves the main thread, which is where all system calls of
 * these tests are made and whose children are born there. The one before goes when nothing refers to it any more.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import type { HostChange, HostChanges, Logger } from '@weir/core';
import { netnsInode, unshareNetns } from '@weir/core/sys';

const machine = netnsInode();

/** Runs a shell command in the namespace. @throws Error with its output when it fails. */
export function sh(command: string): string {
  return execFileSync('sh', ['-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Feeds a tool and fails with its own words. */
export function feed(program: string, args: readonly string[], input: string): string {
  const { status, stdout, stderr } = spawnSync(program, args, { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${status}\n${stdout}${stderr}`);
  return stdout;
}

/**
 * Leaves for a new namespace with lo up. `uplink`: also a device `up0` with 10.1.0.2/24 and 2001:db8:1::2/64 and default
 * routes over it; what goes out there is received by nobody.
 */
export function freshNamespace({ uplink = false }: { readonly uplink?: boolean } = {}): void {
  unshareNetns();
  if (netnsInode() === machine) throw new Error('still in the namespace of the machine');
  sh('for s in all default; do echo 0 > /proc/sys/net/ipv6/conf/$s/accept_dad; done; ip link set lo up');
  if (!uplink) return;
  sh(`ip link add up0 type veth peer name up1
    ip link set up0 arp off; ip link set up1 arp off; ip link set up1 up; ip link set up0 up
    ip addr add 10.1.0.2/24 dev up0; ip -6 addr add 2001:db8:1::2/64 dev up0 nodad
    ip route add default dev up0; ip -6 route add default dev up0`);
}

/** Everything nft and ip know of the namespace. */
export function state(): string {
  return sh('nft -j list ruleset; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all');
}

/** Changes in memory, in the order of the real one. `failAt` makes that change (from 1) fail before it is made. */
export class MemoryChanges implements HostChanges {
  readonly made: HostChange[] = [];
  failAt = 0;
  #count = 0;

  async change(change: HostChange): Promise<void> {
    if (++this.#count === this.failAt) throw new Error(`injected at ${change.id}`);
    this.made.push(change);
    try {
      await change.do();
    } catch (error) {
      await this.undo(change.id);
      throw error;
    }
  }

  async undo(id: string): Promise<void> {
    const index = this.made.findLastIndex((change) => change.id === id);
    if (index < 0) return;
    await this.made[index]?.undo();
    this.made.splice(index, 1);
  }

  async undoAll(): Promise<void> {
    for (const change of this.made.toReversed()) {
      // eslint-disable-next-line no-await-in-loop -- newest first
      await this.undo(change.id);
    }
  }
}

export const silent: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silent,
};
