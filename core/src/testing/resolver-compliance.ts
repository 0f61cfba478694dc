/**
 * What every resolver must do, as a list of named cases. Data, so that any runner can run it. Weir asks a resolver many
 * questions at a time, about any name that a client can put on the wire, and goes on to the next one when it says nothing.
 */
import { deepStrictEqual, ok } from 'node:assert/strict';
import type { Answer, Question, Resolver } from '../api/resolver.ts';
import { encodeQuery } from '../dns/upstream-message.ts';

/** One resolver under test, and what it is about. */
export interface ResolverSubject {
  /** A fresh one; `close` of it is called by the case. */
  readonly create: () => Resolver | Promise<Resolver>;
  /** A question that it answers. */
  readonly known: { readonly name: string; readonly type: string };
  /** A name about which it says nothing; absent for a resolver that has something to say about every name. */
  readonly unknown?: string;
}

export interface ResolverCase {
  /** A sentence about behaviour. Unique. */
  readonly name: string;
  /** How long it may take, in milliseconds. */
  readonly timeoutMs: number;
  /** @throws Error, mostly AssertionError, when the resolver does not do it. */
  readonly run: (subject: ResolverSubject) => Promise<void>;
}

const RESPONSE_CODES = new Set(['NOERROR', 'NXDOMAIN', 'SERVFAIL', 'REFUSED']);
/** Answers to one resolver at a time. */
const CROWD = 200;

/** Names that a client can ask for, and that no resolver may stumble over. */
const ODD_NAMES: readonly string[] = [
  '',
  'a',
  'x'.repeat(63),
  Array.from({ length: 127 }, () => 'a').join('.'),
  'a\\.b.example',
  '\\000.example',
  '\\013\\010host.example',
  '__proto__',
  'constructor.prototype',
  '*.example',
  '..',
  '1.0.0.127.in-addr.arpa',
];

function question(name: string, type: string): Question {
  let raw: Uint8Array = new Uint8Array();
  try {
    raw = encodeQuery(name, type, true);
  } catch {
    // No client can put this name on the wire; a resolver must bear it all the same.
  }
  return { name, type, class: 'IN', transport: 'udp', raw };
}

const NEVER = new AbortController().signal;

/** Asks; a failure is only good when it is one that a client can be told. */
async function ask(resolver: Resolver, asked: Question, signal: AbortSignal = NEVER): Promise<Answer | undefined> {
  try {
    return await resolver.answer(asked, { signal });
  } catch (error) {
    const { code } = error as { code?: unknown };
    ok(
      signal.aborted || code === 'WEIR_RESOLVE',
      `${asked.type} ${JSON.stringify(asked.name)} failed with ${String(error)}`,
    );
    return undefined;
  }
}

function check(answer: Answer | undefined, asked: Question): void {
  if (answer === undefined) return;
  if ('raw' in answer) {
    ok(answer.raw.length >= 12, 'a raw answer is a whole message');
    ok(((answer.raw[2] as number) & 0x80) !== 0, 'a raw answer is a response');
    return;
  }
  ok(RESPONSE_CODES.has(answer.responseCode ?? 'NOERROR'), `${answer.responseCode} is a response code`);
  for (const record of [...answer.records, ...(answer.authority ?? [])]) {
    ok(Number.isInteger(record.ttl) && record.ttl >= 0 && record.ttl <= 0x7fff_ffff, `${record.ttl} is a TTL`);
    ok(record.name === record.name.toLowerCase() && !record.name.endsWith('.'), `${record.name} is a canonical name`);
    ok(record.type.length > 0, 'a record has a type');
  }
  if (answer.responseCode !== undefined && answer.responseCode !== 'NOERROR') {
    deepStrictEqual(answer.records, [], `${asked.name}: an answer that says ${answer.responseCode} has no records`);
  }
}

async function on(subject: ResolverSubject, body: (resolver: Resolver) => Promise<void>): Promise<void> {
  const resolver = await subject.create();
  try {
    await body(resolver);
  } finally {
    await resolver.close?.();
  }
}

function resolverCase(
  name: string,
  body: (resolver: Resolver, subject: ResolverSubject) => Promise<void>,
): ResolverCase {
  return { name, timeoutMs: 30_000, run: (subject) => on(subject, (resolver) => body(resolver, subject)) };
}

export const RESOLVER_CASES: readonly ResolverCase[] = [
  resolverCase('answers what it knows, each time the same', async (resolver, { known }) => {
    const asked = question(known.name, known.type);
    const first = await ask(resolver, asked);
    ok(first !== undefined, `${known.type} ${known.name} is answered`);
    check(first, asked);
    const again = await ask(resolver, asked);
    ok(again !== undefined, 'also the second time');
    if ('records' in first && 'records' in again) {
      const data = ({ records }: Extract<Answer, { records: unknown }>) => records.map((record) => record.data);
      deepStrictEqual(data(again), data(first));
    }
  }),
  resolverCase(
    'says nothing about what it does not know, and so lets the next one answer',
    async (resolver, { unknown }) => {
      if (unknown === undefined) return;
      for (const type of ['A', 'AAAA', 'TXT', 'HTTPS', 'ANY', 'TYPE4711']) {
        deepStrictEqual(await ask(resolver, question(unknown, type)), undefined, `${type} ${unknown}`);
      }
    },
  ),
  resolverCase(
    'answers about every type of what it knows, or says nothing, and never fails',
    async (resolver, { known }) => {
      for (const type of [
        'A',
        'AAAA',
        'ANY',
        'CAA',
        'HTTPS',
        'MX',
        'NS',
        'PTR',
        'SOA',
        'SRV',
        'SVCB',
        'TXT',
        'TYPE4711',
      ]) {
        const asked = question(known.name, type);
        check(await ask(resolver, asked), asked);
      }
    },
  ),
  resolverCase('bears every name that can be asked for', async (resolver) => {
    for (const name of ODD_NAMES) {
      for (const type of ['A', 'PTR', 'HTTPS', 'ANY']) {
        const asked = question(name, type);
        check(await ask(resolver, asked), asked);
      }
    }
  }),
  resolverCase('leaves the question as it is', async (resolver, { known, unknown }) => {
    for (const name of [known.name, unknown ?? known.name]) {
      const asked = question(name, known.type);
      const copy = { ...asked, raw: Uint8Array.from(asked.raw) };
      await ask(resolver, Object.freeze(asked));
      deepStrictEqual({ ...asked, raw: Uint8Array.from(asked.raw) }, copy);
    }
  }),
  resolverCase('answers many questions at a time, each its own', async (resolver, { known, unknown }) => {
    const names = Array.from({ length: CROWD }, (_, i) => (i % 2 === 0 ? known.name : (unknown ?? known.name)));
    const answers = await Promise.all(names.map((name) => ask(resolver, question(name, known.type))));
    for (const [i, answer] of answers.entries()) {
      deepStrictEqual(answer !== undefined, names[i] === known.name, `question ${i} about ${names[i]}`);
    }
  }),
  resolverCase('ends soon when it is aborted, before and during', async (resolver, { known, unknown }) => {
    for (const name of [known.name, unknown ?? 'nowhere.invalid']) {
      const begun = performance.now();
      await ask(resolver, question(name, known.type), AbortSignal.abort());
      const later = new AbortController();
      const asked = ask(resolver, question(name, known.type), later.signal);
      later.abort();
      await asked;
      ok(performance.now() - begun < 5000, 'an aborted question does not wait');
    }
  }),
  resolverCase('can be closed twice, and without having been asked', async (resolver, { create }) => {
    await resolver.close?.();
    const fresh = await create();
    await fresh.close?.();
    await fresh.close?.();
  }),
];
