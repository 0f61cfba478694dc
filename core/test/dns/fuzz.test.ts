/**
 * Structure-aware mutations of real queries through the whole responder: nothing crashes, whatever arrives, and what is
 * answered at once is what the long way answers. A million in `npm run soak`, a tenth of it in `npm test`.
 */
import { expect, test } from 'vitest';
import packet from 'dns-packet';
import { AddressPool } from '../../src/dns/address-pool.ts';
import { AnswerCache, cacheKey } from '../../src/dns/answer-cache.ts';
import { isAbout, privateAddressIn } from '../../src/dns/answer-check.ts';
import { createDnsCounters } from '../../src/dns/counters.ts';
import { describeResponse } from '../../src/dns/describe.ts';
import { KnownAnswers } from '../../src/dns/known-answers.ts';
import { parseQuery } from '../../src/dns/message.ts';
import { skipName } from '../../src/dns/name.ts';
import { QueryCounts } from '../../src/dns/query-counts.ts';
import { Responder } from '../../src/dns/responder.ts';
import { answersQuestion, encodeQuery, readResponse } from '../../src/dns/upstream-message.ts';
import { AssignedResolver } from '../../src/resolvers/assigned.ts';
import { matcherOf, RANGES, responseTo, silent } from './fixtures.ts';

const MESSAGES = process.env['WEIR_SOAK'] === '1' ? 1_000_000 : 100_000;
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
  // As glibc and systemd-resolved send it.
  const plain = { type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [] };
  return ['web.internal', 'x.apps.internal', 'www.example.org', '', 'a.b.c.d.e.f.apps.internal'].flatMap((name) =>
    ['A', 'AAAA', 'TXT', 'ANY', 'AXFR'].flatMap((type) =>
      [[], [plain], [opt], [opt, opt]].map((additionals) =>
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

test(`${MESSAGES} mutated messages get an answer or none, and never an exception`, { timeout: 1_800_000 }, async () => {
  const seed = Number(process.env['WEIR_SEED'] ?? 20_261_128);
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
  const known = new KnownAnswers();
  let answered = 0;
  let atOnce = 0;
  let largest = 0;
  const heapBefore = process.memoryUsage().heapUsed;
  for (let i = 0; i < MESSAGES; i++) {
    let message: Buffer = Buffer.from(seeds[random(seeds.length)] ?? Buffer.alloc(0));
    for (let turns = 1 + (random(3) === 0 ? random(4) : 0); turns > 0; turns--) {
      const mutate = MUTATIONS[random(MUTATIONS.length)];
      if (mutate !== undefined && message.length > 20) message = mutate(message, random);
    }
    const transport = random(4) === 0 ? 'tcp' : 'udp';
    const copy = Buffer.from(message);
    const found = known.find(message);
    const quick = found && known.response(message, found);
    const { response, by } = await responder.explain(message, transport, signal);
    if (!copy.equals(message)) throw new Error(`seed ${seed}, message ${i}: the query was changed`);
    if (quick !== undefined) {
      atOnce++;
      if (response === undefined || !quick.equals(response)) {
        throw new Error(
          `seed ${seed}, message ${i}: answered at once ${quick.toString('hex')}, else ${response?.toString('hex')}`,
        );
      }
    }
    if (response === undefined) continue;
    if (response.readUInt16BE(0) !== message.readUInt16BE(0)) throw new Error(`seed ${seed}, message ${i}: another id`);
    if (transport === 'udp') largest = Math.max(largest, response.length);
    answered += (response.readUInt16BE(2) & 0xf) === 1 ? 0 : 1;
    const parsed = parseQuery(message);
    if (by === 'assigned' && parsed.kind === 'query' && /^(?:A|AAAA)$/.test(parsed.query.type)) {
      const { name, type } = parsed.query;
      known.put(parsed.query.raw, { name, type, bytes: response, count: counts.of(type, 'NOERROR') });
    }
  }
  const share = ((answered / MESSAGES) * 100).toFixed(1);
  const grown = Math.round((process.memoryUsage().heapUsed - heapBefore) / 2 ** 20);
  console.log(
    `seed ${seed}: ${answered} of ${MESSAGES} messages (${share} %) reached the answer stage, ${atOnce} of them were answered at once, ` +
      `${pool.size} names assigned, heap ${grown} MiB more`,
  );
  expect(failures.slice(0, 3)).toEqual([]);
  expect(answered).toBeGreaterThan(MESSAGES * 0.3);
  expect(atOnce).toBeGreaterThan(MESSAGES * 0.01);
  expect(largest).toBeLessThanOrEqual(1232);
  expect(pool.size).toBeLessThanOrEqual(NAMES);
  expect(known.size).toBeLessThanOrEqual(65_536);
  expect(grown).toBeLessThan(256);
});

test(
  `${MESSAGES} mutated answers of upstreams are read, kept, checked and told without an exception`,
  { timeout: 1_800_000 },
  () => {
    const seed = Number(process.env['WEIR_SEED'] ?? 20_261_129);
    const random = randomFrom(seed);
    const query = encodeQuery('www.example.org', 'A');
    const questionLength = query.length - 12 - 11;
    const asked = parseQuery(query);
    if (asked.kind === 'reject') throw new Error('the seed is no query');
    const soa = { mname: 'm.example', rname: 'r.example', serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 20 };
    const seeds = [
      responseTo(query, { answers: [{ type: 'A', name: 'www.example.org', ttl: 60, data: '192.0.2.1' }] }),
      responseTo(query, {
        answers: [
          { type: 'CNAME', name: 'www.example.org', ttl: 9, data: 'cdn.example.org' },
          { type: 'AAAA', name: 'cdn.example.org', ttl: 0x7fff_ffff, data: '2001:db8::1' },
          { type: 'MX', name: 'www.example.org', ttl: 5, data: { preference: 1, exchange: 'mail.example.org' } },
          {
            type: 'SRV',
            name: 'www.example.org',
            ttl: 5,
            data: { priority: 1, weight: 2, port: 3, target: 't.example' },
          },
          { type: 'TXT', name: 'www.example.org', ttl: 5, data: ['a', 'b'] },
        ],
      }),
      responseTo(query, { rcode: 3, authorities: [{ type: 'SOA', name: 'example.org', ttl: 90, data: soa }] }),
    ];
    const cache = new AnswerCache({ entries: 50, staleMs: 1000 });
    const key = cacheKey(asked.query)?.key ?? '';
    let read = 0;
    let kept = 0;
    for (let i = 0; i < MESSAGES; i++) {
      let message: Buffer = Buffer.from(seeds[random(seeds.length)] as Buffer);
      for (let turns = 1 + random(3); turns > 0; turns--) {
        const mutate = MUTATIONS[random(MUTATIONS.length)];
        if (mutate === undefined || message.length <= 20) continue;
        // Mostly behind the question: what does not answer it is sorted out before anything of it is read.
        const head = random(4) === 0 ? undefined : Buffer.from(message.subarray(0, 12 + questionLength));
        message = mutate(message, random);
        if (head !== undefined) message = Buffer.concat([head, message.subarray(head.length)]);
      }
      // Anything else has been sorted out before: it does not answer the question.
      if (!answersQuestion(message, asked.query.questionBytes)) continue;
      const response = readResponse(message, questionLength);
      if (response !== undefined) {
        read++;
        isAbout(response, 'www.example.org');
        privateAddressIn(response);
      }
      describeResponse(message, questionLength);
      const before = cache.size;
      cache.set(`${key}${random(200)}`, message, questionLength);
      if (cache.size !== before || cache.get(`${key}${random(200)}`) !== undefined) kept++;
    }
    console.log(`seed ${seed}: ${read} of ${MESSAGES} answers were read, ${kept} times one was kept or given again`);
    expect(read).toBeGreaterThan(MESSAGES * 0.3);
    expect(kept).toBeGreaterThan(100);
    expect(cache.size).toBeLessThanOrEqual(50);
  },
);
