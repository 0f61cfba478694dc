/**
 * What is known of each upstream: how it did lately, how long it takes, whether it rests. A server that fails rests, twice
 * as long each time; when the rest is over, one query is sent to it beside the one that is waited for, so that no client
 * pays for finding out.
 */
import type { UpstreamConfiguration } from '../config/model.ts';
import { formatEndpoint } from './listen-failure.ts';

/** Longest rest of a server that fails again and again. Milliseconds. */
const LONGEST_REST = 60_000;
/** Rests differ by up to this part, so that hosts that lost one server together do not come back together. */
const JITTER = 0.2;

/** Upper bounds of the buckets of latency, in seconds; one more is open. */
const LATENCY_BUCKETS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** One upstream as reports have it. All counts only grow. */
export interface UpstreamReport {
  /** `udp://192.0.2.53:53`. */
  readonly server: string;
  readonly suffixes: readonly string[];
  readonly dialer?: string;
  readonly state: 'good' | 'resting' | 'probed';
  readonly answers: number;
  readonly timeouts: number;
  readonly errors: number;
  /** Answers by how long they took, each in one bucket: up to so many seconds, the last one longer. */
  readonly latency: ReadonlyArray<{ readonly upTo?: number; readonly count: number }>;
  /** Milliseconds of all answers together. */
  readonly totalMs: number;
  readonly lastFailure?: string;
}

interface Health {
  failures: number;
  restUntil: number;
  probing: boolean;
  answers: number;
  timeouts: number;
  errors: number;
  readonly latency: number[];
  totalMs: number;
  lastFailure: string | undefined;
}

/** `udp://192.0.2.53:53`, `https://dns.example:443/dns-query`: unique among the servers of a configuration. */
export function serverName(server: UpstreamConfiguration): string {
  const { protocol, endpoint, path = '', serverName: name } = server;
  const certificate = name === undefined || name === endpoint.address ? '' : `#${name}`;
  const place = endpoint.address.includes(':') ? formatEndpoint(endpoint) : `${endpoint.address}:${endpoint.port}`;
  return `${protocol}://${place}${path}${certificate}`;
}

export class UpstreamHealth {
  readonly #known = new Map<string, Health>();
  readonly #restMs: number;

  /** @param restMs the first rest of a server that failed */
  constructor(restMs: number) {
    this.#restMs = restMs;
  }

  /** True while the server rests, or has rested and has not answered since. */
  isDoubtful(server: UpstreamConfiguration): boolean {
    return (this.#known.get(serverName(server))?.failures ?? 0) > 0;
  }

  /** True once after each rest: the caller sends the server a query to see whether it is back. */
  takeProbe(server: UpstreamConfiguration): boolean {
    const health = this.#known.get(serverName(server));
    if (health === undefined || health.failures === 0 || health.probing || health.restUntil > Date.now()) return false;
    health.probing = true;
    return true;
  }

  answered(server: UpstreamConfiguration, milliseconds: number): void {
    const health = this.#of(server);
    health.failures = 0;
    health.probing = false;
    health.answers++;
    health.totalMs += milliseconds;
    const bucket = LATENCY_BUCKETS.findIndex((bound) => milliseconds <= bound * 1000);
    const place = bucket < 0 ? LATENCY_BUCKETS.length : bucket;
    health.latency[place] = (health.latency[place] ?? 0) + 1;
  }

  failed(server: UpstreamConfiguration, kind: 'timeout' | 'error', reason: string): void {
    const health = this.#of(server);
    health.probing = false;
    health[kind === 'timeout' ? 'timeouts' : 'errors']++;
    health.lastFailure = reason;
    // Queries that were under way together fail together: that is one failure.
    const now = Date.now();
    if (health.failures > 0 && health.restUntil > now) return;
    const rest = Math.min(LONGEST_REST, this.#restMs * 2 ** health.failures);
    health.failures++;
    health.restUntil = now + rest * (1 - JITTER + 2 * JITTER * Math.random());
  }

  /** A query that was given up says nothing of the server. */
  undecided(server: UpstreamConfiguration): void {
    const health = this.#known.get(serverName(server));
    if (health !== undefined) health.probing = false;
  }

  report(server: UpstreamConfiguration): UpstreamReport {
    const health = this.#of(server);
    const { answers, timeouts, errors, latency, totalMs, lastFailure } = health;
    const state = health.failures === 0 ? 'good' : health.restUntil > Date.now() ? 'resting' : 'probed';
    return {
      server: serverName(server),
      suffixes: server.suffixes ?? [],
      ...(server.dialer === undefined ? {} : { dialer: server.dialer }),
      state,
      answers,
      timeouts,
      errors,
      latency: latency.map((count, place) => {
        const upTo = LATENCY_BUCKETS[place];
        return upTo === undefined ? { count } : { upTo, count };
      }),
      totalMs: Math.round(totalMs),
      ...(lastFailure === undefined ? {} : { lastFailure }),
    };
  }

  #of(server: UpstreamConfiguration): Health {
    const name = serverName(server);
    let health = this.#known.get(name);
    if (health === undefined) {
      health = {
        failures: 0,
        restUntil: 0,
        probing: false,
        answers: 0,
        timeouts: 0,
        errors: 0,
        latency: Array.from({ length: LATENCY_BUCKETS.length + 1 }, () => 0),
        totalMs: 0,
        lastFailure: undefined,
      };
      this.#known.set(name, health);
    }
    return health;
  }
}
