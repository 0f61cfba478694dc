/** What clients of UDP are told about their datagrams, on the wire, and how it is counted. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { IPPROTO_UDP } from '../../src/sys/constants.ts';
import * as libc from '../../src/sys/libc.ts';
import { openIcmpSocket } from '../../src/sys/sockets.ts';
import { dialAddress } from '../../src/dataplane/address-cache.ts';
import { Counters } from '../../src/dataplane/counters.ts';
import {
  FAMILY,
  FlowSlab,
  ORIGINAL,
  ORIGINAL_PORT,
  PROTOCOL,
  SCOPE,
  SOURCE,
  SOURCE_PORT,
} from '../../src/dataplane/flow-slab.ts';
import { UnreachableMessages } from '../../src/dataplane/unreachable.ts';
import { requires } from '../../src/testing/requirements.ts';
import { enterFreshNamespace, shell } from '../../src/testing/thread-namespace.ts';

/** Messages to a client that left by a device. */
const leftBy = (device: string, client: string): number =>
  Number(/packets (\d+)/.exec(shell(`nft list ruleset | grep 'oifname "${device}" ip6 daddr ${client} '`))?.[1]);

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('clients of UDP', () => {
  test('are told by the link that they are on, and what could not be sent is counted as that', () => {
    enterFreshNamespace({ uplink: true });
    const [onLink, beyond, nowhere] = ['fe80::99', '2001:db8:1::99', '2001:db8:dead::1'] as const;
    const rules = ['up0', 'up1'].flatMap((device) =>
      [onLink, beyond].map((client) => `oifname "${device}" ip6 daddr ${client} icmpv6 type 1 counter`),
    );
    shell(
      `ip -6 route add unreachable 2001:db8:dead::/48; nft add table ip6 t; ` +
        `nft 'add chain ip6 t c { type filter hook output priority 0; }'; ` +
        rules.map((rule) => `nft 'add rule ip6 t c ${rule}'`).join('; '),
    );
    const slab = new FlowSlab(FlowSlab.allocate(1));
    const counters = new Counters(Counters.allocate(1));
    const messages = new UnreachableMessages(slab, counters);
    const fd = openIcmpSocket(6, 0);
    onTestFinished(() => void libc.close(fd));
    const tell = (client: string, scope: number, now: number): void => {
      slab.i32[FAMILY] = 6;
      slab.i32[PROTOCOL] = IPPROTO_UDP;
      slab.i32[SOURCE_PORT] = 40_000;
      slab.i32[ORIGINAL_PORT] = 53;
      slab.i32[SCOPE] = scope;
      slab.i32.set(dialAddress(client).words, SOURCE);
      slab.i32.set(dialAddress('2001:db8:7::53').words, ORIGINAL);
      messages.tell(0, 'port', 12, fd, now);
    };
    const told = (): object => {
      const { refusalsSent, refusalsLimited, refusalsFailed } = counters.readTotals();
      return { refusalsSent, refusalsLimited, refusalsFailed };
    };

    tell(onLink, libc.if_nametoindex('up1'), 0);
    tell(onLink, libc.if_nametoindex('up0'), 0);
    tell(beyond, 0, 0);
    expect(told()).toEqual({ refusalsSent: 3, refusalsLimited: 0, refusalsFailed: 0 });
    expect([leftBy('up0', onLink), leftBy('up1', onLink), leftBy('up0', beyond)]).toEqual([1, 1, 1]);

    tell(nowhere, 0, 1000);
    expect(told()).toEqual({ refusalsSent: 3, refusalsLimited: 0, refusalsFailed: 1 });

    for (let n = 0; n < 1002; n++) tell(nowhere, 0, 2000);
    expect(told()).toEqual({ refusalsSent: 3, refusalsLimited: 2, refusalsFailed: 1001 });
  });
});
