/** `direct`: the flow's own destination, or `to`. The worker dials; this only says where to. */
import type { Dialer } from '../api/dialer.ts';
import { defineDialer } from '../api/plugin.ts';
import { directOptions, type DirectOptions } from './direct-options.ts';

export const directDialer = defineDialer<DirectOptions>({
  type: 'direct',
  kind: 'route',
  options: directOptions,
  module: new URL(import.meta.url),
  create(options): Dialer {
    return {
      kind: 'route',
      routes(_service, publish) {
        publish([options.to ?? {}]);
      },
    };
  },
});

/** What stream workers and handshake hosts import this module for. */
export const dialer = directDialer;
