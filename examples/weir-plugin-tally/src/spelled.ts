import { defineResolver, isAddress } from '@weir/core';
import { mapping } from './schema.ts';

export interface SpelledOptions {
  /** What follows the spelled address. Default `example`. */
  readonly suffix?: string;
  /** Seconds. Default 60. */
  readonly ttl?: number;
}

/** `ip-203-0-113-9.example` is 203.0.113.9. Options: `resolver: { plugins: { spelled: { suffix: example } } }`. */
export const resolver = defineResolver<SpelledOptions>({
  id: 'spelled',
  priority: 450,
  options: mapping<SpelledOptions>({
    suffix: (value) =>
      value === undefined || (typeof value === 'string' && /^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(value))
        ? undefined
        : { problem: 'is no domain', allowed: 'a domain in lower case without dots at its ends, as example or ip.example' },
    ttl: (value) =>
      value === undefined || (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 86400)
        ? undefined
        : { problem: 'is no number of seconds', allowed: 'a whole number 0–86400' },
  }),
  module: new URL(import.meta.url),
  create({ suffix = 'example', ttl = 60 }, { log }) {
    const end = `.${suffix}`;
    return {
      async answer({ name, type }, { signal }) {
        signal.throwIfAborted();
        if (!name.endsWith(end)) return undefined;
        const address = /^ip-(\d{1,3}-\d{1,3}-\d{1,3}-\d{1,3})$/.exec(name.slice(0, -end.length))?.[1]?.replaceAll('-', '.');
        if (address === undefined || !isAddress(address)) return undefined;
        log.debug({ name, type, address }, 'spelled');
        const isAsked = type === 'A' || type === 'ANY';
        return { records: isAsked ? [{ name, type: 'A', ttl, data: address }] : [], authoritative: true };
      },
    };
  },
});
