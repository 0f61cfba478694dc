/**
 * `socks5`: through a SOCKS5 proxy (RFC 1928), with or without user and password (RFC 1929). Names go to the proxy as
 * names. The handshake runs in the splice worker; this module imports nothing that a worker need not have.
 */
import type { DialTarget, Handshake, HandshakeDialer, HandshakeStep } from '../api/dialer.ts';
import { DialError, type DialFailure } from '../api/errors.ts';
import { defineDialer } from '../api/plugin.ts';
import {
  COMMAND_CONNECT,
  greeting,
  METHOD_NONE,
  METHOD_PASSWORD,
  METHOD_REFUSED,
  parseMethod,
  parsePasswordReply,
  parseReply,
  passwordRequest,
  REPLIES,
  request,
} from '../protocols/socks5.ts';
import { socks5Options, type Socks5Options } from './socks5-options.ts';

const NOTHING: HandshakeStep = { consumed: 0, done: false };

/** By reply code; what is not listed is an error of the proxy. */
const FAILURES: readonly DialFailure[] = [
  'error',
  'error',
  'denied',
  'unreachable',
  'unreachable',
  'refused',
  'timeout',
  'protocol',
  'protocol',
];

function fail(failure: DialFailure, problem: string, remedy: string, cause?: unknown): never {
  throw new DialError(failure, { problem, remedy, ...(cause === undefined ? {} : { cause }) });
}

class Socks5Handshake implements Handshake {
  readonly #options: Socks5Options;
  readonly #target: DialTarget;
  #state: 'start' | 'method' | 'password' | 'reply' = 'start';

  constructor(options: Socks5Options, target: DialTarget) {
    this.#options = options;
    this.#target = target;
  }

  step(input: Uint8Array): HandshakeStep {
    try {
      return this.#step(input);
    } catch (error) {
      if (error instanceof DialError) throw error;
      const text = error instanceof Error ? error.message : String(error);
      return fail(
        'protocol',
        `The proxy does not speak SOCKS5: ${text}.`,
        'Check address and port of the dialer.',
        error,
      );
    }
  }

  #step(input: Uint8Array): HandshakeStep {
    switch (this.#state) {
      case 'start': {
        this.#state = 'method';
        const methods = this.#options.username === undefined ? [METHOD_NONE] : [METHOD_NONE, METHOD_PASSWORD];
        return { send: greeting(methods), consumed: 0, done: false };
      }
      case 'method': {
        const method = parseMethod(input);
        if (method === undefined) return NOTHING;
        return { ...this.#answerMethod(method), consumed: 2, done: false };
      }
      case 'password': {
        const accepted = parsePasswordReply(input);
        if (accepted === undefined) return NOTHING;
        if (!accepted)
          fail('denied', 'The proxy refused user and password.', 'Correct username and password of the dialer.');
        return { send: this.#request(), consumed: 2, done: false };
      }
      case 'reply': {
        const reply = parseReply(input);
        if (reply === undefined) return NOTHING;
        if (reply.code !== 0) {
          const reason = REPLIES[reply.code] ?? `code ${reply.code}`;
          const { host, port } = this.#target;
          fail(
            FAILURES[reply.code] ?? 'error',
            `The proxy did not connect to ${host}:${port}: ${reason}.`,
            'See its log.',
          );
        }
        return { consumed: reply.length, done: true };
      }
    }
  }

  #answerMethod(method: number): { readonly send: Uint8Array } {
    const { username, password } = this.#options;
    if (method === METHOD_NONE) return { send: this.#request() };
    if (method === METHOD_PASSWORD && username !== undefined && password !== undefined) {
      this.#state = 'password';
      return { send: passwordRequest(username, password) };
    }
    return method === METHOD_REFUSED
      ? fail('denied', 'The proxy wants another way to sign in.', 'Give the dialer username and password.')
      : fail(
          'protocol',
          `The proxy chose method ${method}, which was not offered.`,
          'Check address and port of the dialer.',
        );
  }

  #request(): Uint8Array {
    this.#state = 'reply';
    return request(COMMAND_CONNECT, this.#target.host, this.#target.port);
  }
}

export const socks5Dialer = defineDialer<Socks5Options>({
  type: 'socks5',
  kind: 'handshake',
  options: socks5Options,
  module: new URL(import.meta.url),
  create(options): HandshakeDialer {
    return {
      kind: 'handshake',
      routes(_service, publish) {
        publish([options.address]);
      },
      handshake: (target) => new Socks5Handshake(options, target),
    };
  },
});

/** What workers import this module for. */
export const dialer = socks5Dialer;
