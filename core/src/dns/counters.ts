/** What the resolver counts. Plain numbers that only grow; read at any time. */
import type { ResponseCode } from './message.ts';

export interface DnsCounters {
  queriesUdp: number;
  queriesTcp: number;
  queriesA: number;
  queriesAaaa: number;
  queriesOther: number;
  /** Answered from Weir's own zone. */
  answeredAssigned: number;
  /** Answered with real addresses, which are steered. */
  answeredReal: number;
  /** Answered from the hosts file. */
  answeredHosts: number;
  /** Answered for an address of the assigned ranges: its name, or that it has none. */
  answeredReverse: number;
  /** Answered with an upstream's bytes. */
  answeredForwarded: number;
  /** Answered as `resolver.unanswerable` says, because no resolver knew. */
  answeredUnanswerable: number;
  responsesNoerror: number;
  responsesNxdomain: number;
  responsesServfail: number;
  responsesRefused: number;
  responsesFormerr: number;
  responsesNotimp: number;
  /** Cut to the client's size, with TC set. */
  truncated: number;
  /** Answered with FORMERR, or dropped because it was no query. */
  malformed: number;
  /** A resolver or the announcement of an address failed unexpectedly. */
  resolverErrors: number;
  /** A response could not be sent. */
  sendErrors: number;
  /** Queries dropped because `inFlight` of them were being answered. */
  inFlightLimitHits: number;
  /** Queries refused because as many were waiting for upstreams as may. */
  forwardLimitHits: number;
  tcpConnections: number;
  tcpConnectionLimitHits: number;
  tcpIdleClosed: number;
  forwarded: number;
  upstreamTimeouts: number;
  /** An upstream refused, reset, or could not be reached. */
  upstreamErrors: number;
  /** A response with a wrong id or question: late, or forged. */
  upstreamMismatched: number;
  /** Answers of upstreams that were given again. */
  cacheHits: number;
  cacheMisses: number;
  /** Answers given after their time, because no upstream answered. */
  cacheStale: number;
  /** Queries that waited for the answer to an equal one. */
  queriesCoalesced: number;
  /** Answers with a private address that `resolver.rebinding` forbids. */
  rebindingBlocked: number;
  lookups: number;
  lookupCacheHits: number;
  lookupsCoalesced: number;
  lookupsFailed: number;
  /** Names that got an address. */
  assigned: number;
  /** Names that got none, because all are taken or `limits.names` is reached. */
  poolExhausted: number;
  /** Names whose addresses were taken back, because nobody used them for long. */
  released: number;
  /** Names that got the addresses of an earlier run. */
  restored: number;
  /** Look-ups of names that keep their real addresses, and those that failed. */
  realLookups: number;
  realLookupsFailed: number;
  /** Real addresses given after their time, because no upstream answered. */
  realStale: number;
  /** Names or addresses over a bound: of one name, of `limits.real-addresses`, of `limits.names`. */
  realLimitHits: number;
  /** Assignments that could not be written down. */
  mapErrors: number;
}

export function createDnsCounters(): DnsCounters {
  return {
    queriesUdp: 0,
    queriesTcp: 0,
    queriesA: 0,
    queriesAaaa: 0,
    queriesOther: 0,
    answeredAssigned: 0,
    answeredReal: 0,
    answeredHosts: 0,
    answeredReverse: 0,
    answeredForwarded: 0,
    answeredUnanswerable: 0,
    responsesNoerror: 0,
    responsesNxdomain: 0,
    responsesServfail: 0,
    responsesRefused: 0,
    responsesFormerr: 0,
    responsesNotimp: 0,
    truncated: 0,
    malformed: 0,
    resolverErrors: 0,
    sendErrors: 0,
    inFlightLimitHits: 0,
    forwardLimitHits: 0,
    tcpConnections: 0,
    tcpConnectionLimitHits: 0,
    tcpIdleClosed: 0,
    forwarded: 0,
    upstreamTimeouts: 0,
    upstreamErrors: 0,
    upstreamMismatched: 0,
    cacheHits: 0,
    cacheMisses: 0,
    cacheStale: 0,
    queriesCoalesced: 0,
    rebindingBlocked: 0,
    lookups: 0,
    lookupCacheHits: 0,
    lookupsCoalesced: 0,
    lookupsFailed: 0,
    assigned: 0,
    poolExhausted: 0,
    released: 0,
    restored: 0,
    realLookups: 0,
    realLookupsFailed: 0,
    realStale: 0,
    realLimitHits: 0,
    mapErrors: 0,
  };
}

const RESPONSE_COUNTERS = {
  NOERROR: 'responsesNoerror',
  FORMERR: 'responsesFormerr',
  BADVERS: 'responsesFormerr',
  SERVFAIL: 'responsesServfail',
  NXDOMAIN: 'responsesNxdomain',
  NOTIMP: 'responsesNotimp',
  REFUSED: 'responsesRefused',
} as const satisfies Record<ResponseCode, keyof DnsCounters>;

export function countResponse(counters: DnsCounters, code: ResponseCode): void {
  counters[RESPONSE_COUNTERS[code]]++;
}

export function countQuery(counters: DnsCounters, type: string): void {
  if (type === 'A') counters.queriesA++;
  else if (type === 'AAAA') counters.queriesAaaa++;
  else counters.queriesOther++;
}
