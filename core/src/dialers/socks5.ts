/**
 * `socks5`: through a SOCKS5 proxy (RFC 1928), with or without user and password (RFC 1929); TCP by CONNECT, UDP by UDP
 * ASSOCIATE. Names go to the proxy as names. The handshake runs in the splice worker; this module imports nothing that a worker need not have.
 */
import type { DatagramTunnel, DialTarget, Handshake, HandshakeDialer, HandshakeStep } from '../api/dialer.ts';
import { DialError, type DialFailure } from '../api/errors.ts';
import { defineDialer } from '../api/plugin.ts';
import { addressToBytes, bytesToAddress, isAddress } from '../capture/address.ts';
import {
  COMMAND_ASSOCIATE,
  COMMAND_CONNECT,
  datagramHeader,
  greeting,
  METHOD_NONE,
  METHOD_PASSWORD,
  METHOD_REFUSED,
  parseDatagram,
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
        if (reply.code !== 0) this.#refused(reply.code);
        const end = { consumed: reply.length, done: true };
        if (this.#target.protocol === 'tcp') return end;
        const { host, port } = reply.bound;
        if (!isAddress(host) || port === 0) {
          fail('protocol', `The proxy relays at ${host}:${port}, which is no address and port.`, 'See its log.');
        }
        return { ...end, tunnel: new Socks5Tunnel(this.#target, { host, port }) };
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
    const { protocol, host, port } = this.#target;
    // Where the datagrams will come from is not known before the relay's address is: section 6 wants zeros then.
    return protocol === 'udp' ? request(COMMAND_ASSOCIATE, '0.0.0.0', 0) : request(COMMAND_CONNECT, host, port);
  }

  #refused(code: number): never {
    const { protocol, host, port } = this.#target;
    const reason = REPLIES[code] ?? `code ${code}`;
    const [what, remedy] =
      protocol === 'tcp'
        ? ['connect', 'See its log.']
        : ['relay datagrams', 'See its log, and whether it allows UDP ASSOCIATE.'];
    fail(FAILURES[code] ?? 'error', `The proxy did not ${what} to ${host}:${port}: ${reason}.`, remedy);
  }
}

/** Zeros: a proxy that does not say where an answer came from. */
const UNSAID = ['0.0.0.0', '::'];

/** The datagrams of one association (section 7). Fragments are dropped, as the section allows. */
class Socks5Tunnel implements DatagramTunnel {
  readonly relay: DatagramTunnel['relay'];
  readonly #header: Uint8Array;
  /** As the proxy writes the target, or undefined for a name: which address it has is known to the proxy alone. */
  readonly #from: string | undefined;
  readonly #port: number;
  /** The header that was found right last: all of a session have the same one, as a rule. */
  #known: Uint8Array;

  constructor({ host, port }: DialTarget, relay: DatagramTunnel['relay']) {
    this.relay = relay;
    this.#header = datagramHeader(host, port);
    this.#known = this.#header;
    this.#from = isAddress(host) ? withoutMapping(host) : undefined;
    this.#port = port;
  }

  encapsulate(datagram: Uint8Array): Uint8Array {
    const header = this.#header;
    const bytes = new Uint8Array(header.length + datagram.length);
    bytes.set(header);
    bytes.set(datagram, header.length);
    return bytes;
  }

  decapsulate(datagram: Uint8Array): Uint8Array | undefined {
    if (beginsWith(datagram, this.#known)) return datagram.subarray(this.#known.length);
    try {
      const parsed = parseDatagram(datagram);
      if (parsed === undefined || parsed.fragment !== 0) return undefined;
      const { host, port } = parsed.address;
      // A relay takes datagrams from anybody; a client's own socket would take them from where it wrote to.
      if (!UNSAID.includes(host)) {
        if (port !== this.#port) return undefined;
        if (this.#from !== undefined && isAddress(host) && withoutMapping(host) !== this.#from) return undefined;
      }
      this.#known = datagram.slice(0, parsed.payloadStart);
      return datagram.subarray(parsed.payloadStart);
    } catch {
      // An address type that there is none of.
      return undefined;
    }
  }
}

function beginsWith(bytes: Uint8Array, head: Uint8Array): boolean {
  if (bytes.length < head.length) return false;
  for (let n = 0; n < head.length; n++) if (bytes[n] !== head[n]) return false;
  return true;
}

/** An IPv4 address that was written as an IPv6 one (RFC 4291, section 2.5.5.2). */
function withoutMapping(address: string): string {
  const bytes = addressToBytes(address);
  const mapped = bytes.length === 16 && bytes.subarray(0, 10).every((byte) => byte === 0);
  return bytesToAddress(mapped && bytes[10] === 0xff && bytes[11] === 0xff ? bytes.slice(12) : bytes);
}

export const socks5Dialer = defineDialer<Socks5Options>({
  type: 'socks5',
  kind: 'handshake',
  protocols: ['tcp', 'udp'],
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
