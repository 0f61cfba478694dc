/** From a client's bytes to the bytes of the answer: parse, ask the resolvers in order, encode, cut to size. */
import { ResolveError } from '../api/errors.ts';
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
import { answersQuestion } from './upstream-message.ts';

export interface ResponderOptions {
  /** Asked in this order. */
  readonly resolvers: readonly Resolver[];
  /** What a client is told when no resolver answers; `timeout` tells it nothing. */
  readonly unanswerable: ResolverConfiguration['unanswerable'];
  readonly counters: DnsCounters;
  readonly log: Logger;
  /** Bytes of a UDP response at most, whatever the client takes. */
  readonly udpBytes?: number;
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
    const { counters } = this.#options;
    if (transport === 'udp') counters.queriesUdp++;
    else counters.queriesTcp++;
    const parsed = parseQuery(message);
    if (parsed.kind === 'reject') {
      if (parsed.code !== 'NOTIMP') counters.malformed++;
      if (parsed.response !== undefined) countResponse(counters, parsed.code);
      return parsed.response;
    }
    const { query } = parsed;
    countQuery(counters, query.type);
    const limit = transport === 'udp' ? udpLimit(query, this.#udpBytes) : MAX_MESSAGE_BYTES;
    const response = await this.#answer(query, transport, limit, signal);
    if (response === undefined) return undefined;
    countResponse(counters, responseCode(response));
    if (isTruncated(response)) counters.truncated++;
    return response;
  }

  async #answer(query: Query, transport: Protocol, limit: number, signal: AbortSignal): Promise<Buffer | undefined> {
    const failed = (code: ResponseCode): Buffer => encodeAnswer(query, { code }, limit);
    if (query.classCode !== CLASS_IN || NO_RECORD_TYPES.has(query.type)) return failed('REFUSED');
    const { name, type, raw } = query;
    const question: Question = { name, type, class: 'IN', transport, raw };
    try {
      for (const resolver of this.#options.resolvers) {
        const answer = await resolver.answer(question, { signal });
        if (answer !== undefined) return this.#encode(query, answer, limit);
      }
    } catch (error) {
      if (error instanceof ResolveError) {
        this.#options.log.debug({ name, type, reason: error.message }, 'a query could not be answered');
        return failed(error.responseCode);
      }
      if (signal.aborted) return undefined;
      this.#options.counters.resolverErrors++;
      this.#options.log.error({ name, type, reason: String(error) }, 'a resolver failed');
      return failed('SERVFAIL');
    }
    this.#options.counters.answeredUnanswerable++;
    const { unanswerable } = this.#options;
    if (unanswerable === 'timeout') return undefined;
    return failed(({ refused: 'REFUSED', servfail: 'SERVFAIL', nxdomain: 'NXDOMAIN' } as const)[unanswerable]);
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
    return encodeAnswer(query, { code, records, authority, authoritative }, limit);
  }
}
