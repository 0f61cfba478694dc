import { hostFacts } from '@weir/core';
import { libc, openSocket, socketName } from '@weir/core/sys';
import {
  accept,
  arrival,
  attempt,
  connect,
  enterFreshNamespace,
  passes,
  requires,
  shell,
  TEST_NUMBERS,
} from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { instance, signal, state, VARIANTS } from './variants.ts';

const V4 = { address: '203.0.113.7', port: 443 };
const V6 = { address: '2001:db8:7::7', port: 443 };
const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] as const };

describe.skipIf(requires('namespaces', 'iptables-nft', 'iptables-legacy', 'ipv6'))('what iptables steers', () => {
  for (const variant of VARIANTS) {
    describe(variant, () => {
      for (const uplink of [true, false]) {
        test(`a captured destination arrives with its own name, ${uplink ? 'with' : 'without'} a default route`, async () => {
          enterFreshNamespace({ uplink });
          await using weir = instance(variant);
          await weir.start(weir.input([WEB]));
          expect(arrival(weir.listeners[4], V4)).toEqual(V4);
          expect(arrival(weir.listeners[6] ?? -1, V6)).toEqual(V6);
          const canary4 = { address: '192.0.2.1', port: 4711 };
          const canary6 = { address: '2001:db8::1', port: 4711 };
          expect(arrival(weir.listeners[4], canary4)).toEqual(canary4);
          expect(arrival(weir.listeners[6] ?? -1, canary6)).toEqual(canary6);
        });
      }

      test('what is not captured goes where it went before', async () => {
        enterFreshNamespace({ uplink: true });
        await using weir = instance(variant);
        await weir.start(weir.input([WEB]));
        for (const target of [
          { ...V4, port: 444 },
          { ...V6, port: 444 },
          { address: '198.51.100.1', port: 443 },
        ]) {
          expect(arrival(weir.listeners[4], target)).toBe('pending');
        }
        expect(arrival(weir.listeners[4], V4, TEST_NUMBERS.bypassMark)).toBe('pending');
        expect(attempt({ address: '127.0.0.1', port: 443 })).toBe('ECONNREFUSED');
        expect(attempt({ address: '10.1.0.2', port: 443 })).toBe('ECONNREFUSED');
      });

      test('without a route, what is not captured is refused at once', async () => {
        enterFreshNamespace();
        const neighbours = [
          { ...V4, port: 444 },
          { ...V6, port: 444 },
          { address: '198.51.100.1', port: 443 },
        ];
        await using weir = instance(variant);
        await weir.start(weir.input([WEB]));
        // The first two have Weir's route and get RST; the third has none at all, as before.
        expect(neighbours.map((target) => attempt(target))).toEqual(['ECONNREFUSED', 'ECONNREFUSED', 'ENETUNREACH']);
        expect(attempt(V4, TEST_NUMBERS.bypassMark)).toBe('ENETUNREACH');
      });

      test('a service that names an own or loopback address is captured, and nothing beside it', async () => {
        enterFreshNamespace({ uplink: true });
        await using weir = instance(variant);
        const names = { prefixes: ['127.0.0.53/32', '10.1.0.2/32', '2001:db8:1::2/128'], ports: [[53, 53]] as const };
        await weir.start(weir.input([names, { prefixes: ['0.0.0.0/0', '::/0'] }]));
        for (const address of ['127.0.0.53', '10.1.0.2']) {
          expect(arrival(weir.listeners[4], { address, port: 53 })).toEqual({ address, port: 53 });
          expect(attempt({ address, port: 54 })).toBe('ECONNREFUSED');
        }
        const own6 = { address: '2001:db8:1::2', port: 53 };
        expect(arrival(weir.listeners[6] ?? -1, own6)).toEqual(own6);
        expect(attempt({ ...own6, port: 54 })).toBe('ECONNREFUSED');
        expect(attempt({ address: '::1', port: 54 })).toBe('ECONNREFUSED');
        const other = { address: '198.51.100.1', port: 9 };
        expect(arrival(weir.listeners[4], other)).toEqual(other);
      });

      test('flows are chosen by the owner of their socket, and canaries are exempt', async () => {
        enterFreshNamespace({ uplink: true });
        await using weir = instance(variant);
        const uid = process.getuid?.() ?? 0;
        const canary = { address: '192.0.2.1', port: 4711 };
        const range = (first: number) => ({ kind: 'uid', first, last: first }) as const;
        await weir.start(weir.input([WEB], {}, { owners: { only: [], except: [range(uid)] } }));
        expect(arrival(weir.listeners[4], V4)).toBe('pending');
        expect(arrival(weir.listeners[4], canary)).toEqual(canary);
        const update = (only: number) =>
          weir.interceptor.update(weir.input([WEB], {}, { owners: { only: [range(only)], except: [] } }), signal);
        await update(uid);
        expect(arrival(weir.listeners[4], V4)).toEqual(V4);
        await update(uid + 1);
        expect(arrival(weir.listeners[4], V4)).toBe('pending');
        expect(arrival(weir.listeners[4], canary)).toEqual(canary);
      });

      test('foreign bits of a mark are kept', async () => {
        enterFreshNamespace({ uplink: true });
        shell('ip rule add pref 100 fwmark 0x40000007/0x40000007 lookup 77; ip route add default dev up0 table 77');
        await using weir = instance(variant);
        await weir.start(weir.input([WEB]));
        shell(
          `iptables-${variant} -t mangle -A PREROUTING -i lo -m mark --mark 0x50000007 -j CONNMARK --save-mark --mask 0x1`,
        );
        expect(arrival(weir.listeners[4], V4)).toEqual(V4);
        const client = connect(V4, 0x40000007);
        if (typeof client === 'number') libc.close(client);
        expect(typeof client).toBe('number');
      });

      for (const uplink of [true, false]) {
        test(`living flows survive an update that removes them, ${uplink ? 'with' : 'without'} a default route`, async () => {
          enterFreshNamespace({ uplink });
          await using weir = instance(variant);
          await weir.start(weir.input([WEB]));
          const client = connect(V4);
          const client6 = connect(V6);
          const flow = accept(weir.listeners[4]);
          const flow6 = accept(weir.listeners[6] ?? -1);
          if (!flow || !flow6 || typeof client === 'string' || typeof client6 === 'string') throw new Error('no flow');
          await weir.interceptor.update(weir.input([], {}, { generation: 2 }), signal);
          for (const [a, b] of [
            [client, flow.fd],
            [client6, flow6.fd],
          ] as const) {
            expect(passes(a, b)).toBe(true);
            expect(passes(b, a)).toBe(true);
          }
          expect(arrival(weir.listeners[4], V4)).toBe(uplink ? 'pending' : 'ECONNREFUSED');
          expect(await weir.interceptor.verify(signal)).toEqual([]);
          await weir.interceptor.drain(signal);
          expect(passes(client, flow.fd)).toBe(true);
          for (const fd of [client, client6, flow.fd, flow6.fd]) libc.close(fd);
        });
      }

      test('a flow older than the capture of its destination is left alone', async () => {
        enterFreshNamespace({ uplink: true });
        // A server beside Weir: the address is this host's own by a route that Weir does not know of.
        shell('ip route add local 198.51.100.0/24 dev lo');
        await using weir = instance(variant);
        await weir.start(weir.input([WEB]));
        const server = openSocket({ family: 4, protocol: 'tcp', bind: { address: '198.51.100.9', port: 0 } });
        libc.listen(server, 8);
        const client = connect(socketName(server));
        const flow = accept(server);
        if (!flow || typeof client === 'string') throw new Error('no flow');
        await weir.interceptor.update(
          weir.input([WEB, { prefixes: ['198.51.100.9/32'] }], {
            facts: { ...hostFacts(), ownAddresses: ['198.51.100.9/32'] },
          }),
          signal,
        );
        expect(passes(client, flow.fd)).toBe(true);
        expect(passes(flow.fd, client)).toBe(true);
        expect(arrival(weir.listeners[4], socketName(server))).toEqual(socketName(server));
        for (const fd of [client, flow.fd, server]) libc.close(fd);
      });

      test('two owners side by side take their own flows, and stopping one leaves the other', async () => {
        enterFreshNamespace({ uplink: true });
        const before = state();
        const numbers = {
          ...TEST_NUMBERS,
          slot: 1,
          captureMark: 0x11000000,
          table: TEST_NUMBERS.table + 16,
          preference: TEST_NUMBERS.preference + 16,
          preferenceBehindMain: TEST_NUMBERS.preferenceBehindMain + 1,
        };
        await using one = instance(variant);
        {
          await using two = instance(variant, { owner: 'second', numbers });
          await one.start(one.input([WEB]));
          await two.start(two.input([{ prefixes: ['198.51.100.0/24'] }, WEB]));
          // Both want it: the younger one's chains come first, and what one has claimed the other leaves alone.
          expect(arrival(two.listeners[4], V4)).toEqual(V4);
          expect(accept(one.listeners[4], 20)).toBeUndefined();
          const other = { address: '198.51.100.1', port: 1 };
          expect(arrival(two.listeners[4], other)).toEqual(other);
          expect(await one.interceptor.verify(signal)).toEqual([]);
        }
        expect(arrival(one.listeners[4], V4)).toEqual(V4);
        await one.interceptor.stop();
        expect(state()).toBe(before);
      });
    });
  }
});
