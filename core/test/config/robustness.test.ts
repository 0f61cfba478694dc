/** Whatever a file holds, the answer is a configuration or its faults, each of them at a place of the file. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ConfigurationError } from '../../src/api/errors.ts';
import { faultText } from '../../src/config/fault-text.ts';
import { knownKeys } from '../../src/config/schema.ts';
import { read } from './reading.ts';

const GOOD = `interceptor: [nft, tun]
capture: { scopes: [output], mark: { mask: 0x3f000000, capture: 0x10000000, bypass: 0x20000000 } }
resolver:
  listen: [udp://127.0.0.1:53, "tcp://[::1]:53"]
  ranges: [100.64.0.0/10, "fd64:7765:6972::/64"]
dialers:
  corp: { type: login, user: u, password: hunter2 }
  pool: &pool { type: direct, to: "10.0.0.5:6432" }
services:
  - name: web
    addresses: [web.internal, "*.apps.internal", 203.0.113.0/24, "2001:db8::/48"]
    ports: [443, 8000-8100]
    dialer: [corp, *pool]
  - { name: db, addresses: [db.internal], listen: 127.0.0.1:15432 }
timeouts: { connect: 10s }
limits: { flows: 50k }
`;

/** What is wrong with the answer to a text; empty when it is a configuration or faults that can be shown. */
async function complaintsAbout(text: string): Promise<readonly string[]> {
  const refusal = await read(text).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (refusal === undefined) return [];
  if (!(refusal instanceof ConfigurationError))
    return [`threw ${refusal instanceof Error ? refusal.stack : 'no error'}`];
  const lines = text.split('\n').length;
  const complaints = refusal.faults.flatMap((fault) => [
    ...(fault.line < 1 || fault.line > lines || fault.column < 1 ? [`placed at ${fault.line}:${fault.column}`] : []),
    ...(/undefined|\[object|\n/.test(fault.problem) ? [`problem: ${fault.problem}`] : []),
    ...(/undefined|\[object|^$|\n/.test(fault.allowed) ? [`allowed: ${fault.allowed}`] : []),
    ...(faultText(fault).includes('allowed: ') ? [] : [faultText(fault)]),
  ]);
  return refusal.faults.length === 0 ? ['refused without a fault'] : complaints;
}

test('the text that is mutated is right', async () => {
  await expect(read(GOOD)).resolves.toMatchObject({ owner: 'default' });
});

test('characters that are changed, put in, cut out or doubled', async () => {
  const piece = fc.constantFrom(
    ...Array.from(`:{}[]"'*&!#-,|>?%@\`\n\t 0x~/.`),
    'null',
    '\u0000',
    'é',
    '\u2028',
    '__proto__',
    '<<',
    '...',
  );
  const edit = fc.record({
    at: fc.nat(GOOD.length),
    cut: fc.nat(12),
    insert: fc.oneof(piece, fc.string({ maxLength: 5 })),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
      let text = GOOD;
      for (const { at, cut, insert } of edits) text = text.slice(0, at) + insert + text.slice(at + cut);
      expect(await complaintsAbout(text)).toEqual([]);
    }),
    { numRuns: 600 },
  );
});

test('any value under any key', async () => {
  const keys = knownKeys([]);
  const inner = [...new Set(keys.flatMap((key) => [...knownKeys([key]), ...knownKeys([key, 0])]))];
  const word = fc.constantFrom(
    'auto',
    'direct',
    'nft',
    '10s',
    '*.x',
    '1.2.3.4/8',
    '::1',
    '[::1]:80',
    'a:1',
    '',
    'x'.repeat(300),
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4, depthSize: 'small' },
      word,
      fc.double(),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys, ...inner, 'type', 'to', 'password', 'file', '__proto__', ''), tie('any'), {
        maxKeys: 4,
      }),
    ),
  })).any;
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 6 }), async (document) => {
      expect(await complaintsAbout(JSON.stringify(document, undefined, 1))).toEqual([]);
    }),
    { numRuns: 600 },
  );
});
