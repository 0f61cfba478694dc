/** A query taken apart and answered, as for every name that an application resolves. */
import { encodeAnswer, parseQuery } from '@weir/core/internal/dns/message.ts';
import { encodeName } from '@weir/core/internal/dns/name.ts';
import type { MicroSuite } from './suite.ts';

/** RD set, one question of type A, an OPT record of 1232 bytes: what a stub resolver sends. */
function query(name: string): Buffer {
  const header = Buffer.from([0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
  const opt = Buffer.from([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([header, encodeName(name), Buffer.from([0, 1, 0, 1]), opt]);
}

export function dnsMessages(): MicroSuite {
  const name = 'cart.eu.shop.internal';
  const raw = query(name);
  const parsed = parseQuery(raw);
  if (parsed.kind !== 'query') throw new Error('the query of the benchmark is none');
  const records = [{ name, type: 'A', ttl: 60, data: '100.64.17.4' }];
  return {
    name: 'DNS messages',
    cases: [
      { name: 'parseQuery', once: () => parseQuery(raw) },
      {
        name: 'encodeAnswer, one A record',
        once: () => encodeAnswer(parsed.query, { code: 'NOERROR', records, authoritative: true }, 1232),
      },
    ],
  };
}
