/**
 * The handshake dialers of a worker: their modules are imported when control names them, never while a flow waits for
 * them. A module exports its definition as `dialer`.
 */
import type { Dialer, DialerContext, HandshakeDialer } from '../api/dialer.ts';
import type { Logger } from '../api/logger.ts';
import { PluginError } from '../api/errors.ts';

/** A dialer as control describes it to a worker. */
export interface HandshakeDialerPlace {
  /** Its place in the list of dialers. */
  readonly index: number;
  readonly name: string;
  /** URL of the module. */
  readonly module: string;
  readonly options: unknown;
  readonly bypassMark: number;
}

/** In a worker nothing is logged: what goes wrong becomes the outcome of the flow. */
const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

export class HandshakeDialers {
  readonly #dialers = new Map<number, HandshakeDialer>();

  get(index: number): HandshakeDialer | undefined {
    return this.#dialers.get(index);
  }

  /** Imports and makes those that are not there yet. @throws PluginError when a module does not keep the contract. */
  async load(places: readonly HandshakeDialerPlace[]): Promise<void> {
    for (const { index, name, module, options, bypassMark } of places) {
      if (this.#dialers.has(index)) continue;
      const { dialer: definition } = (await import(module)) as {
        dialer?: { create(options: unknown, context: DialerContext): Dialer };
      };
      const dialer = definition?.create(options, { name, log: silent, bypassMark });
      if (dialer?.kind !== 'handshake') {
        throw new PluginError({
          problem: `The module ${module} of the dialer ${name} does not export a handshake dialer as "dialer".`,
          remedy: 'Export the definition that the plugin registers, under that name, from the module it names.',
        });
      }
      this.#dialers.set(index, dialer);
    }
  }
}
