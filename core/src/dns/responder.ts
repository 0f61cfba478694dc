/** From a client's bytes to the bytes of the answer: parse, ask the resolvers in order, encode, cut to size. */
import { isWeirError, ResolveError } from '../api/errors.ts';
import type { Protocol } from '../api/flow.ts';
import type { Logger } from '../api/logger.ts';
import type { Answer, Question, Resolver } from '../api/resolver.ts';
import type { ResolverConfiguration } from '../config/model.ts';
import { countQuery, countResponse, type DnsCounters } from './counters.ts';
import {
  CLASS_IN,
  EDNS_UDP_BYTES,
  encodeAnswer,
  isTruncated,
  MAX_MESSAGE_BYTES,
  parseQuery,
  passOn,
  responseCode,
  udpLimit,
  type Query,
  type ResponseCode,
} from './message.ts';
import type { QueryCounts } from './query-counts.ts';
import { answersQuestion } from './upstream-message.ts';

/** A resolver and its place in the chain. */
export interface ChainedResolver {
  /** For people: `assigned`, `hosts`, `upstream`, or the id of a plugin's. */
  readonly id: string;
  readonly resolver: Resolver;
  /** Milliseconds after which a resolver that is not built in is given up; absent: it has a bound of its own. */
  readonly timeoutMs?: number;
}

/** A question that got an answer, and from whom. */
export interface AnsweredQuery {
  readonly query: Query;
  /** Undefined when no resolver answered. */
  readonly by: string | undefined;
  readonly response: Buffer;
}

export interface ResponderOptions {
  /** Asked in this order. */
  readonly resolvers: readonly ChainedResolver[];
  /** What a client is told when no resolver answers; `timeout` tells it nothing. */
  readonly unanswerable: ResolverConfiguration['unanswerable'];
  readonly counters: DnsCounters;
  readonly counts: QueryCounts;
  readonly log: Logger;
  /** Bytes of a UDP response at most, whatever the client takes. */
  readonly udpBytes?: number;
  /** Told of every query that was answered, before the answer is sent. */
  readonly onAnswered?: (answered: AnsweredQuery) => void;
}

/** Types that are requests for something else than records of a name (RFC 6895 3.1). */
const NO_RECORD_TYPES = new Set(['OPT', 'TKEY', 'TSIG', 'IXFR', 'AXFR']);

export class Responder {
  readonly #options: ResponderOptions;
  readonly #udpBytes: number;

  constructor(options: ResponderOptions) {
    this.#options = options;
    this.#udpBytes = options.udpBytes ?? EDNS_UDP_BYTES;
  }

  /** The response, or undefined when there must be none. Never rejects, whatever the bytes are. */
  async respond(message: Uint8Array, transport: Protocol, signal: AbortSignal): Promise<Buffer | undefined> {
    return (await this.explain(message, transport, signal)).response;
  }

  /** As {@link Responder.respond}, with which resolver answered. */
  async explain(
    message: Uint8Array,
    transport: Protocol,
    signal: AbortSignal,
  ): Promise<{ readonly response?: Buffer; readonly by?: string }> {
    const { counters, counts } = this.#options;
    if (transport === 'udp') counters.queriesUdp++;
    else counters.queriesTcp++;
    const parsed = parseQuery(message);
    if (parsed.kind === 'reject') {
      if (parsed.code !== 'NOTIMP') counters.malformed++;
      counts.of('none', parsed.response === undefined ? 'none' : parsed.code).count++;
      if (parsed.response === undefined) return {};
      countResponse(counters, parsed.code);
      return { response: parsed.response };
    }
    const { query } = parsed;
    countQuery(counters, query.type);
    const limit = transport === 'udp' ? udpLimit(query, this.#udpBytes) : MAX_MESSAGE_BYTES;
    const { response, by } = await this.#answer(query, transport, limit, signal);
    counts.of(query.type, response === undefined ? 'none' : responseCode(response)).count++;
    if (response === undefined) return {};
    countResponse(counters, responseCode(response));
    if (isTruncated(response)) counters.truncated++;
    this.#options.onAnswered?.({ query, by, response });
    return { response, ...(by === undefined ? {} : { by }) };
  }

  async #answer(
    query: Query,
    transport: Protocol,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ readonly response?: Buffer; readonly by?: string }> {
    const failed = (code: ResponseCode): Buffer => encodeAnswer(query, { code }, limit, this.#udpBytes);
    if (query.classCode !== CLASS_IN || NO_RECORD_TYPES.has(query.type)) return { response: failed('REFUSED') };
    const { name, type, raw } = query;
    const question: Question = { name, type, class: 'IN', transport, raw };
    let asked: string | undefined;
    try {
      for (const chained of this.#options.resolvers) {
        asked = chained.id;
        const answer = await ask(chained, question, signal);
        if (answer !== undefined) return { response: this.#encode(query, answer, limit), by: asked };
      }
    } catch (error) {
      const by = asked === undefined ? {} : { by: asked };
      if (isWeirError(error) && error.code === 'WEIR_RESOLVE') {
        this.#options.log.debug({ name, type, reason: error.message }, 'a query could not be answered');
        return { response: failed((error as ResolveError).responseCode), ...by };
      }
      if (signal.aborted) return {};
      this.#options.counters.resolverErrors++;
      this.#options.log.error({ name, type, resolver: asked, reason: String(error) }, 'a resolver failed');
      return { response: failed('SERVFAIL'), ...by };
    }
    this.#options.counters.answeredUnanswerable++;
    const { unanswerable } = this.#options;
    if (unanswerable === 'timeout') return {};
    const code = ({ refused: 'REFUSED', servfail: 'SERVFAIL', nxdomain: 'NXDOMAIN' } as const)[unanswerable];
    return { response: failed(code) };
  }

  #encode(query: Query, answer: Answer, limit: number): Buffer {
    if ('raw' in answer) {
      const raw = Buffer.from(answer.raw.buffer, answer.raw.byteOffset, answer.raw.byteLength);
      if (!answersQuestion(raw, query.questionBytes)) {
        throw new RangeError('the resolver answered another question than it was asked');
      }
      return passOn(query, raw, limit);
    }
    const { responseCode: code = 'NOERROR', records, authority = [], authoritative = false } = answer;
    return encodeAnswer(query, { code, records, authority, authoritative }, limit, this.#udpBytes);
  }
}

/** Asks one resolver, for a time that is bounded. */
async function ask(
  { id, resolver, timeoutMs }: ChainedResolver,
  question: Question,
  signal: AbortSignal,
): Promise<Answer | undefined> {
  if (timeoutMs === undefined) return resolver.answer(question, { signal });
  const timeout = new AbortController();
  const both = AbortSignal.any([signal, timeout.signal]);
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      // Called inside of the race: one that throws at once rejects like any other.
      Promise.resolve().then(() => resolver.answer(question, { signal: both })),
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          reject(
            new ResolveError('SERVFAIL', {
              problem: `The resolver ${id} did not answer within ${timeoutMs} ms.`,
              remedy: 'Look at what it waits for, or take its plugin out.',
            }),
          );
          timeout.abort();
        }, timeoutMs);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
