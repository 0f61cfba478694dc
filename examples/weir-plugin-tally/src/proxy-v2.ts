import { addressToBytes, defineDialer, DialError, isAddress, type DialTarget, type Endpoint } from '@weir/core';
import { mapping, type Check } from './schema.ts';

export interface ProxyOptions {
  /** Where the upstream is; absent: the flow's own destination. */
  readonly address?: string;
  /** Adds the flow's name, where it has one, as PP2_TYPE_AUTHORITY. Default false. */
  readonly authority?: boolean;
}

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const VERSION_2_PROXY = 0x21;
const PP2_TYPE_AUTHORITY = 0x02;

/** `10.0.0.5:8080`, `[2001:db8::5]:8080` or `name:8080`. */
export function parseAddress(text: string): { host: string; port: number } | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65535) return undefined;
  if (bracketed !== undefined && !(isAddress(bracketed) && bracketed.includes(':'))) return undefined;
  return { host, port };
}

const isPlace: Check = (value) =>
  value === undefined || (typeof value === 'string' && parseAddress(value))
    ? undefined
    : { problem: 'is no host and port', allowed: 'a host and a port 1–65535, as 10.0.0.5:8080 or "[2001:db8::5]:8080"; left out: the own destination of the flow' };

const isSwitch: Check = (value) =>
  value === undefined || typeof value === 'boolean' ? undefined : { problem: 'is neither true nor false', allowed: 'true, false' };

/** IPv4 as IPv4-mapped IPv6, for a pair of mixed families. */
const mapped = (bytes: Uint8Array): Uint8Array =>
  bytes.length === 16 ? bytes : Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), bytes]);

const portBytes = ({ port }: Endpoint): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
};

export function header({ source, original, host }: Pick<DialTarget, 'source' | 'original' | 'host'>, authority: boolean): Buffer {
  let addresses = [addressToBytes(source.address), addressToBytes(original.address)];
  if (addresses.some(({ length }) => length === 16)) addresses = addresses.map(mapped);
  const family = addresses[0]?.length === 4 ? 0x11 : 0x21;
  const name = Buffer.from(authority && !isAddress(host) ? host : '');
  const tlv = name.length === 0 ? [] : [Buffer.from([PP2_TYPE_AUTHORITY, name.length >> 8, name.length & 0xff]), name];
  const body = Buffer.concat([...addresses, portBytes(source), portBytes(original), ...tlv]);
  const head = Buffer.from([VERSION_2_PROXY, family, body.length >> 8, body.length & 0xff]);
  return Buffer.concat([SIGNATURE, head, body]);
}

/** `type: proxy-v2`, `address: 10.0.0.5:8080`: an upstream that expects a PROXY header, version 2. */
export const dialer = defineDialer<ProxyOptions>({
  type: 'proxy-v2',
  kind: 'handshake',
  options: mapping<ProxyOptions>({ address: isPlace, authority: isSwitch }),
  module: new URL(import.meta.url),
  create({ address, authority = false }) {
    const place = address === undefined ? {} : parseAddress(address);
    return {
      kind: 'handshake',
      routes(_service, publish) {
        publish(place ? [place] : []);
      },
      handshake(target) {
        return {
          step(input) {
            if (input.length > 0) {
              throw new DialError('protocol', {
                problem: 'The upstream spoke before it got its PROXY header.',
                remedy: 'Check the address of the dialer.',
              });
            }
            return { send: header(target, authority), consumed: 0, done: true };
          },
        };
      },
    };
  },
});
