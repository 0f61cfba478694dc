import { bytesToAddress } from '@weir/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DialError } from '../../src/api/errors.ts';
import type { DatagramTunnel, DialTarget, HandshakeDialer } from '../../src/api/dialer.ts';
import { socks5Dialer } from '../../src/dialers/socks5.ts';
import {
  datagramHeader,
  decodeAddress,
  encodeAddress,
  greeting,
  parseDatagram,
  parseMethod,
  parsePasswordReply,
  parseReply,
  passwordRequest,
  request,
} from '../../src/protocols/socks5.ts';

const host = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map(bytesToAddress),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytesToAddress),
  fc.stringMatching(/^[a-z][a-z0-9-]{0,60}\.internal$/),
);
const port = fc.integer({ min: 0, max: 65_535 });

const target = (over: Partial<DialTarget> = {}): DialTarget => ({
  host: 'web.internal',
  port: 443,
  protocol: 'tcp',
  original: { address: '100.64.0.9', port: 443 },
  source: { address: '10.1.0.2', port: 50_000 },
  service: 'web',
  flow: '0.0.0.1',
  ...over,
});

const dialer = (options: object) =>
  socks5Dialer.create(
    { address: { host: '10.1.0.1', port: 1080 }, ...options },
    { name: 'corp', log: undefined as never, bypassMark: 0 },
  ) as HandshakeDialer;

describe('bytes', () => {
  test('an address comes back as it went, and no shorter piece of it is taken for one', () => {
    fc.assert(
      fc.property(host, port, fc.uint8Array({ maxLength: 8 }), (name, number, rest) => {
        const bytes = encodeAddress(name, number);
        expect(decodeAddress(Buffer.concat([bytes, rest]))).toEqual({ host: name, port: number, length: bytes.length });
        for (let cut = 0; cut < bytes.length; cut++) expect(decodeAddress(bytes.subarray(0, cut))).toBeUndefined();
      }),
    );
  });

  test('messages are what RFC 1928 and 1929 draw', () => {
    expect([...greeting([0, 2])]).toEqual([5, 2, 0, 2]);
    expect([...request(1, '1.2.3.4', 80)]).toEqual([5, 1, 0, 1, 1, 2, 3, 4, 0, 80]);
    expect([...request(1, 'ab', 443)]).toEqual([5, 1, 0, 3, 2, 97, 98, 1, 187]);
    expect([...passwordRequest('u', 'pw')]).toEqual([1, 1, 117, 2, 112, 119]);
    expect(() => passwordRequest('', 'x')).toThrow(RangeError);
    expect(() => request(1, 'x'.repeat(256), 1)).toThrow(RangeError);
  });

  test('no bytes make a parser throw anything but RangeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        for (const parse of [parseMethod, parsePasswordReply, parseReply, decodeAddress]) {
          try {
            parse(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(RangeError);
          }
        }
      }),
    );
  });
});

describe('handshake', () => {
  test('is the same whatever pieces the answers come in, and leaves the bytes of the flow', () => {
    const answers = Buffer.from([5, 2, 1, 0, 5, 0, 0, 3, 3, 97, 98, 99, 0, 80]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 20 }), (pieces) => {
        const handshake = dialer({ username: 'u', password: 'p' }).handshake(target());
        const sent: Uint8Array[] = [];
        const first = handshake.step(new Uint8Array(0));
        if (first.send) sent.push(first.send);
        let input = Buffer.alloc(0);
        const flow = Buffer.concat([answers, Buffer.from('early')]);
        let done = false;
        let at = 0;
        for (const size of [...pieces, ...Array<number>(flow.length).fill(1)]) {
          if (done || at >= flow.length) break;
          input = Buffer.concat([input, flow.subarray(at, at + size)]);
          at += size;
          for (let again = true; again && !done;) {
            const step = handshake.step(input);
            input = input.subarray(step.consumed);
            if (step.send) sent.push(step.send);
            done = step.done;
            again = step.consumed > 0 && input.length > 0;
          }
        }
        expect(done).toBe(true);
        expect(Buffer.concat([input, flow.subarray(at)]).toString()).toBe('early');
        expect(Buffer.concat(sent).toString('latin1')).toBe(
          Buffer.concat([greeting([0, 2]), passwordRequest('u', 'p'), request(1, 'web.internal', 443)]).toString(
            'latin1',
          ),
        );
      }),
    );
  });

  test('refusals say what happened and what to do, and never the password', () => {
    const play = (bytes: number[], options: object = {}): DialError => {
      const handshake = dialer(options).handshake(target());
      handshake.step(new Uint8Array(0));
      let input = Buffer.from(bytes);
      try {
        for (;;) {
          const { consumed } = handshake.step(input);
          if (consumed === 0) throw new Error('no failure');
          input = input.subarray(consumed);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(DialError);
        return error as DialError;
      }
    };
    expect(play([5, 255]).failure).toBe('denied');
    expect(play([4, 90]).failure).toBe('protocol');
    expect(play([5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).failure).toBe('refused');
    const refused = play([5, 2, 1, 1], { username: 'u', password: 'secret' });
    expect(refused.failure).toBe('denied');
    expect(refused.message).not.toContain('secret');
  });
});

describe('tunnel', () => {
  const tunnel = (over: Partial<DialTarget> = {}, reply = [5, 0, 0, 1, 10, 1, 0, 1, 4, 56]): DatagramTunnel => {
    const handshake = dialer({}).handshake(target({ protocol: 'udp', port: 53, ...over }));
    handshake.step(new Uint8Array(0));
    const { send } = handshake.step(Uint8Array.of(5, 0));
    expect([...(send ?? [])]).toEqual([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    const { done, tunnel: made } = handshake.step(Uint8Array.from(reply));
    expect(done).toBe(true);
    return made as DatagramTunnel;
  };

  test('what goes through it comes back as it went, by name, IPv4 and IPv6', () => {
    fc.assert(
      fc.property(host, fc.uint8Array({ maxLength: 100 }), (name, payload) => {
        const one = tunnel({ host: name });
        expect(one.relay).toEqual({ host: '10.1.0.1', port: 1080 });
        const wrapped = one.encapsulate(payload);
        expect(parseDatagram(wrapped)).toMatchObject({ fragment: 0, address: { host: name, port: 53 } });
        expect([...(one.decapsulate(wrapped) ?? [])]).toEqual([...payload]);
        for (let cut = 0; cut < wrapped.length - payload.length; cut++) {
          expect(one.decapsulate(wrapped.subarray(0, cut))).toBeUndefined();
        }
      }),
    );
  });

  test('only whole datagrams from where the client wrote to come out, or where the proxy does not say from where', () => {
    const one = tunnel({ host: '203.0.113.7' });
    const from = (address: string, port: number) =>
      one.decapsulate(Buffer.concat([datagramHeader(address, port), Buffer.from('x')]));
    for (const right of ['203.0.113.7', '::ffff:203.0.113.7', '0.0.0.0', '::']) {
      expect(Buffer.from(from(right, 53) ?? []).toString(), right).toBe('x');
    }
    expect(from('203.0.113.8', 53)).toBeUndefined();
    expect(from('203.0.113.7', 54)).toBeUndefined();
    // A name's address is the proxy's knowledge.
    expect(tunnel().decapsulate(datagramHeader('198.51.100.1', 53))).toHaveLength(0);
    const fragment = datagramHeader('203.0.113.7', 53);
    fragment[2] = 1;
    expect(one.decapsulate(fragment)).toBeUndefined();
  });

  test('no random datagram makes it throw', () => {
    const one = tunnel({ host: '203.0.113.7' });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        one.decapsulate(bytes);
        one.decapsulate(Buffer.concat([Uint8Array.of(0, 0, 0), bytes]));
      }),
      { numRuns: 2000 },
    );
  });

  test('a relay without port, or at a name, is no relay', () => {
    expect(() => tunnel({}, [5, 0, 0, 1, 10, 1, 0, 1, 0, 0])).toThrow(/no address and port/);
    expect(() => tunnel({}, [5, 0, 0, 3, 2, 97, 98, 4, 56])).toThrow(/no address and port/);
  });
});
