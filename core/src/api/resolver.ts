/** A resolver turns questions into answers. Resolvers form a chain by priority; the first that answers wins. */
import type { Protocol } from './flow.ts';
import type { Logger } from './logger.ts';
import type { StandardSchema } from './schema.ts';

export interface Question {
  /** Lower case, without the trailing dot; the root is the empty string. */
  readonly name: string;
  /** As in the IANA registry: `A`, `AAAA`, `PTR`, `HTTPS`; unknown ones as `TYPE259`. */
  readonly type: string;
  /** Always `IN` today. */
  readonly class: string;
  /** How the client asked; a resolver that passes the query on asks in the same way. */
  readonly transport: Protocol;
  /** The query as it came, for resolvers that pass it on unchanged. */
  readonly raw: Uint8Array;
}

/** One resource record. `data` has the shape that `dns-packet` gives that type; an A or AAAA is an address as text. */
export interface ResourceRecord {
  readonly name: string;
  readonly type: string;
  /** Seconds. */
  readonly ttl: number;
  readonly data: unknown;
}

/** `records` are encoded by core; `raw` is a whole message that goes to the client as it is, but for its id. */
export type Answer =
  | {
      readonly records: readonly ResourceRecord[];
      readonly authority?: readonly ResourceRecord[];
      readonly responseCode?: 'NOERROR' | 'NXDOMAIN' | 'SERVFAIL' | 'REFUSED';
      readonly authoritative?: boolean;
    }
  | { readonly raw: Uint8Array };

export interface Resolver {
  /** `undefined` falls through to the next one. @throws ResolveError to end the chain with that response code. */
  answer(question: Question, options: { readonly signal: AbortSignal }): Promise<Answer | undefined>;
  close?(): Promise<void>;
}

/** What core lends to a resolver. */
export interface ResolverContext {
  readonly log: Logger;
  /** fwmark for sockets that the resolver opens itself, so that they are not captured; 0 where nothing is. */
  readonly bypassMark: number;
}

/** What a plugin registers. Options stand in `resolver: { plugins: { <id>: … } }`. */
export interface ResolverDefinition<Options = unknown> {
  readonly id: string;
  /** Higher is asked first. Built-in: assigned 500, reverse 490, hosts 400, upstream 100; of equal ones the built-in. */
  readonly priority: number;
  readonly options: StandardSchema;
  readonly module: URL;
  create(options: Options, context: ResolverContext): Resolver;
}
