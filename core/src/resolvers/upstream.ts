/** Queries that Weir does not answer itself go on to an upstream as they came, and its answer comes back as it is. */
import { ResolveError } from '../api/errors.ts';
import type { Logger } from '../api/logger.ts';
import type { Answer, Question, Resolver } from '../api/resolver.ts';
import type { DnsCounters } from '../dns/counters.ts';
import { parseQuery } from '../dns/message.ts';
import type { Upstreams } from '../dns/upstreams.ts';

export interface UpstreamResolverOptions {
  readonly upstreams: Upstreams;
  readonly counters: DnsCounters;
  readonly log: Logger;
}

export class UpstreamResolver implements Resolver {
  readonly #options: UpstreamResolverOptions;

  constructor(options: UpstreamResolverOptions) {
    this.#options = options;
  }

  /** Falls through when no upstream answers. @throws ResolveError REFUSED when too many queries are waiting. */
  async answer(question: Question, { signal }: { readonly signal: AbortSignal }): Promise<Answer | undefined> {
    const { upstreams, counters, log } = this.#options;
    const parsed = parseQuery(question.raw);
    if (parsed.kind === 'reject') return undefined;
    try {
      const { raw, questionBytes } = parsed.query;
      const response = await upstreams.ask(raw, questionBytes, { transport: question.transport, signal });
      counters.answeredForwarded++;
      return { raw: response };
    } catch (error) {
      if (!(error instanceof ResolveError) || error.responseCode === 'REFUSED') throw error;
      log.debug({ name: question.name, type: question.type, reason: error.problem }, 'no upstream answered');
      return undefined;
    }
  }
}
