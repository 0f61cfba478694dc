import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePrefix } from '../../src/capture/address.ts';
import {
  attribute,
  attributeText,
  attributeU32,
  attributeU8,
  parseAttributes,
  readText,
  readU32,
  readU8,
} from '../../src/sys/netlink/attribute.ts';
import { NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NLMSGERR_ATTR_MSG } from '../../src/sys/netlink/constants.ts';
import { decodeError, decodeMessages, encodeMessage } from '../../src/sys/netlink/message.ts';
import { formatRoute, routeAddition } from '../../src/sys/netlink/route.ts';
import { formatRule, ruleAddition } from '../../src/sys/netlink/rule.ts';

describe('attributes', () => {
  test('what is written is read', () => {
    const bytes = Buffer.concat([attributeU8(21, 87), attributeU32(15, 22497), attributeText(3, 'lo')]);
    expect(bytes.length % 4).toBe(0);
    const attributes = parseAttributes(bytes);
    expect(readU8(attributes, 21)).toBe(87);
    expect(readU32(attributes, 15)).toBe(22497);
    expect(readText(attributes, 3)).toBe('lo');
    expect(readU32(attributes, 99)).toBeUndefined();
    expect(readU32(attributes, 21)).toBeUndefined();
  });

  test('any values, in any order', () => {
    const one = fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 40 }));
    fc.assert(
      fc.property(fc.uniqueArray(one, { selector: ([type]) => type }), (list) => {
        const found = parseAttributes(Buffer.concat(list.map(([type, value]) => attribute(type, value))));
        expect([...found].map(([type, value]) => [type, Uint8Array.from(value)])).toEqual(list);
      }),
    );
  });

  test('bytes that are no attributes end the list and never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const [type, value] of parseAttributes(Buffer.from(bytes))) {
          expect(type).toBeLessThanOrEqual(0x3fff);
          expect(value.length).toBeLessThanOrEqual(bytes.length);
        }
      }),
    );
  });
});

describe('messages', () => {
  test('a datagram with several', () => {
    const bytes = Buffer.concat([
      encodeMessage(24, 0x605, 7, Uint8Array.of(1, 2, 3)),
      encodeMessage(25, 1, 8, new Uint8Array()),
    ]);
    expect(
      [...decodeMessages(bytes)].map(({ type, flags, sequence, payload }) => [type, flags, sequence, [...payload]]),
    ).toEqual([
      [24, 0x605, 7, [1, 2, 3]],
      [25, 1, 8, []],
    ]);
  });

  test('bytes that are no messages end the list and never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        for (const message of decodeMessages(Buffer.from(bytes))) {
          expect(message.payload.length).toBeLessThanOrEqual(bytes.length);
          expect(decodeError(message).errno).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });

  const refusal = (flags: number, ...after: readonly Uint8Array[]) => {
    const errno = Buffer.alloc(4);
    errno.writeInt32LE(-22);
    const request = encodeMessage(32, 5, 1, Buffer.from('whole request'));
    const quoted = (flags & NLM_F_CAPPED) === 0 ? request : request.subarray(0, 16);
    return { type: NLMSG_ERROR, flags, sequence: 1, payload: Buffer.concat([errno, quoted, ...after]) };
  };
  const words = attributeText(NLMSGERR_ATTR_MSG, 'Invalid prefsrc address');

  test('a refusal with the kernel’s words, the request quoted or not', () => {
    for (const capped of [0, NLM_F_CAPPED]) {
      expect(decodeError(refusal(NLM_F_ACK_TLVS | capped, words))).toEqual({
        errno: 22,
        text: 'Invalid prefsrc address',
      });
      expect(decodeError(refusal(capped))).toEqual({ errno: 22 });
    }
    expect(decodeError({ type: NLMSG_ERROR, flags: 0, sequence: 1, payload: Buffer.alloc(4) })).toEqual({ errno: 0 });
  });
});

describe('in the notation of ip', () => {
  test('rules', () => {
    const rule = { family: 4, preference: 9500, table: 22497, protocol: 87 } as const;
    expect(formatRule(rule)).toBe('pref 9500 lookup 22497 protocol 87');
    expect(formatRule({ ...rule, iif: 'lo', fwmark: { value: 0, mask: 0x20000000 } })).toBe(
      'pref 9500 iif lo fwmark 0x0/0x20000000 lookup 22497 protocol 87',
    );
    expect(ruleAddition({ ...rule, family: 6 }).describe).toContain('IPv6 rule pref 9500');
  });

  test('routes', () => {
    const route = { destination: parsePrefix('203.0.113.0/24'), table: 22498, protocol: 87 };
    expect(formatRoute({ ...route, type: 'unicast', device: 1, source: '10.1.0.2' }, 'lo')).toBe(
      '203.0.113.0/24 dev lo src 10.1.0.2 table 22498 proto 87',
    );
    expect(formatRoute({ ...route, type: 'throw' })).toBe('throw 203.0.113.0/24 table 22498 proto 87');
    expect(routeAddition({ ...route, type: 'local', device: 1 }).describe).toContain('local 203.0.113.0/24 dev #1');
  });
});
