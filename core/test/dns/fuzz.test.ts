/** Structure-aware mutations of real queries through the whole responder: nothing crashes, whatever arrives. */
import { expect, test } from 'vitest';
import packet from 'dns-packet';
import { AddressPool } from '../../src/dns/address-pool.ts';
import { createDnsCounters } from '../../src/dns/counters.ts';
import { skipName } from '../../src/dns/name.ts';
import { QueryCounts } from '../../src/dns/query-counts.ts';
import { Responder } from '../../src/dns/responder.ts';
import { readResponse } from '../../src/dns/upstream-message.ts';
import { AssignedResolver } from '../../src/resolvers/assigned.ts';
import { matcherOf, RANGES, responseTo, silent } from './fixtures.ts';

const MESSAGES = 50_000;
const NAMES = 2000;

/** mulberry32: small, and the same on every machine. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

function seedMessages(): readonly Buffer[] {
  const opt = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: 4096,
    flags: 0x8000,
    options: [{ code: 10, data: Buffer.alloc(8) }],
  };
  return ['web.internal', 'x.apps.internal', 'www.example.org', '', 'a.b.c.d.e.f.apps.internal'].flatMap((name) =>
    ['A', 'AAAA', 'TXT', 'ANY', 'AXFR'].flatMap((type) =>
      [[], [opt], [opt, opt]].map((additionals) =>
        packet.encode({
          type: 'query',
          id: 7,
          flags: 0x0100,
          questions: [{ name: name || '.', type, class: 'IN' }],
          additionals,
        }),
      ),
    ),
  );
}

const MUTATIONS: ReadonlyArray<(message: Buffer, random: (below: number) => number) => Buffer> = [
  (message) => message,
  (message, random) => {
    message[random(message.length)] = random(256);
    return message;
  },
  (message, random) => {
    const at = random(message.length);
    message[at] = (message[at] ?? 0) ^ (1 << random(8));
    return message;
  },
  // What leaves a query a query: letters of the name, type, id, flags.
  (message, random) => {
    message[13 + random(3)] = random(256);
    return message;
  },
  (message, random) => {
    const end = skipName(message, 12) ?? 12;
    if (end + 2 <= message.length) message.writeUInt16BE(random(300), end);
    return message;
  },
  (message, random) => {
    for (let i = 13; i < message.length && (message[i] ?? 0) > 0; i++)
      message[i] = (message[i] ?? 0) ^ (random(2) * 0x20);
    return message;
  },
  (message, random) => {
    message.writeUInt16BE(random(0x1_0000), 0);
    message.writeUInt16BE(random(0x800), 2);
    return message;
  },
  (message, random) => message.subarray(0, random(message.length + 1)),
  (message, random) => Buffer.concat([message, Buffer.from(Array.from({ length: random(40) }, () => random(256)))]),
  // The four counts of the header.
  (message, random) => {
    message.writeUInt16BE([0, 1, 2, 3, 255, 65_535][random(6)] ?? 0, 4 + 2 * random(4));
    return message;
  },
  // A pointer somewhere.
  (message, random) => {
    if (message.length > 14) message.writeUInt16BE(0xc000 | random(80), 12 + random(message.length - 14));
    return message;
  },
  (message, random) => {
    const at = 12 + random(message.length - 12);
    return Buffer.concat([message.subarray(0, at), message.subarray(12, at), message.subarray(at)]);
  },
];

test(`${MESSAGES} mutated messages get an answer or none, and never an exception`, { timeout: 60_000 }, async () => {
  const seed = Number(process.env['WEIR_FUZZ_SEED'] ?? 20_261_128);
  const random = randomFrom(seed);
  const counters = createDnsCounters();
  const pool = new AddressPool({ ranges: RANGES, families: [4, 6], names: NAMES });
  const failures: string[] = [];
  const log = {
    ...silent,
    error: (fields: Readonly<Record<string, unknown>>) => failures.push(JSON.stringify(fields)),
  };
  const assigned = new AssignedResolver({
    matcher: matcherOf('web.internal', '*.apps.internal'),
    pool,
    counters,
    onAssign: () => {},
  });
  const upstream = {
    // A server that answers with a mutation of a good answer.
    answer: async ({ raw }: { readonly raw: Uint8Array }) => {
      const query = Buffer.from(raw);
      const id = query.readUInt16BE(0);
      const question = query.subarray(12, (skipName(query, 12) ?? 0) + 4);
      const answers = [{ type: 'TXT', name: 'x', ttl: 1, data: 'x'.repeat(random(255)) }];
      const response = Buffer.concat([
        responseTo(packet.encode({ id, questions: [] }), {}),
        question,
        Buffer.from(JSON.stringify(answers)),
      ]);
      response.writeUInt16BE(1, 4);
      response.writeUInt16BE(random(4), 6);
      readResponse(response, question.length);
      return random(4) === 0 ? undefined : { raw: response };
    },
  };
  const resolvers = [
    { id: 'assigned', resolver: assigned },
    { id: 'upstream', resolver: upstream },
  ];
  const counts = new QueryCounts();
  const responder = new Responder({ resolvers, unanswerable: 'refused', counters, counts, log });
  const seeds = seedMessages();
  const signal = new AbortController().signal;
  let answered = 0;
  let largest = 0;
  for (let i = 0; i < MESSAGES; i++) {
    let message: Buffer = Buffer.from(seeds[random(seeds.length)] ?? Buffer.alloc(0));
    for (let turns = 1 + (random(3) === 0 ? random(4) : 0); turns > 0; turns--) {
      const mutate = MUTATIONS[random(MUTATIONS.length)];
      if (mutate !== undefined && message.length > 20) message = mutate(message, random);
    }
    const transport = random(4) === 0 ? 'tcp' : 'udp';
    const copy = Buffer.from(message);
    const response = await responder.respond(message, transport, signal);
    if (!copy.equals(message)) throw new Error(`seed ${seed}, message ${i}: the query was changed`);
    if (response === undefined) continue;
    if (response.readUInt16BE(0) !== message.readUInt16BE(0)) throw new Error(`seed ${seed}, message ${i}: another id`);
    if (transport === 'udp') largest = Math.max(largest, response.length);
    answered += (response.readUInt16BE(2) & 0xf) === 1 ? 0 : 1;
  }
  console.log(
    `seed ${seed}: ${answered} of ${MESSAGES} messages reached the answer stage, ${pool.size} names assigned`,
  );
  expect(failures.slice(0, 3)).toEqual([]);
  expect(answered).toBeGreaterThan(MESSAGES * 0.3);
  expect(largest).toBeLessThanOrEqual(1232);
  expect(pool.size).toBeLessThanOrEqual(NAMES);
});
