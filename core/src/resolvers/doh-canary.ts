/**
 * `use-application-dns.net`: a browser that finds no such name leaves names to the host instead of asking a DNS-over-HTTPS
 * server of its own, which knows nothing of Weir's names.
 */
import type { Answer, Question, Resolver } from '../api/resolver.ts';
import { noSuchName } from './negative.ts';

const CANARY = 'use-application-dns.net';

export class DohCanaryResolver implements Resolver {
  /** Seconds. */
  readonly #ttl: number;

  constructor(ttl: number) {
    this.#ttl = ttl;
  }

  answer({ name }: Question): Promise<Answer | undefined> {
    const ours = name === CANARY || name.endsWith(`.${CANARY}`);
    return Promise.resolve(ours ? noSuchName(name, this.#ttl) : undefined);
  }
}
