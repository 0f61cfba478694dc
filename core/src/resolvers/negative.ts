/** Answers of Weir's own zone that hold no record. */
import type { Answer, ResourceRecord } from '../api/resolver.ts';

/** The negative-caching record of a name (RFC 2308): its last field says for how many seconds the answer holds. */
function startOfAuthority(name: string, ttl: number): ResourceRecord {
  const data = {
    mname: 'weir.internal',
    rname: 'hostmaster.weir.internal',
    serial: 1,
    refresh: 3600,
    retry: 600,
    expire: 86_400,
    minimum: ttl,
  };
  return { name, type: 'SOA', ttl, data };
}

/** The name exists and has no record of the type asked for. */
export function noRecords(name: string, ttl: number): Answer {
  return { records: [], authority: [startOfAuthority(name, ttl)], authoritative: true };
}

/** There is no such name. */
export function noSuchName(name: string, ttl: number): Answer {
  return {
    records: [],
    authority: [startOfAuthority(name, ttl)],
    responseCode: 'NXDOMAIN',
    authoritative: true,
  };
}
