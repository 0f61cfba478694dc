/** Whether an upstream's answer is about what was asked, and whether it points into a private network. */
import type { Prefix } from '../api/flow.ts';
import { addressToNumber, bytesToAddress, parsePrefix, prefixContains } from '../capture/address.ts';
import type { ReadResponse } from './upstream-message.ts';

const TYPE_A = 1;
const TYPE_CNAME = 5;
const TYPE_AAAA = 28;
const TYPE_DNAME = 39;

/**
 * Whether every address of the answer belongs to the name asked for, or to where its aliases lead. A record of another
 * name would be taken for its own by clients that do not look (RFC 2181 5.4.1).
 */
export function isAbout({ answers }: ReadResponse, name: string): boolean {
  const targets = new Map<string, string[]>();
  for (const { name: owner, type, target } of answers) {
    if (type !== TYPE_CNAME || target === undefined) continue;
    const known = targets.get(owner);
    if (known) known.push(target);
    else targets.set(owner, [target]);
  }
  const reached = new Set([name]);
  // A set that grows while it is walked is walked to its end; records may come in any order.
  for (const owner of reached) for (const target of targets.get(owner) ?? []) reached.add(target);
  return answers.every(({ name: owner, type }) => {
    if (type === TYPE_DNAME) return [...reached].some((one) => one.endsWith(`.${owner}`));
    return (type !== TYPE_A && type !== TYPE_AAAA) || reached.has(owner);
  });
}

/** Addresses that no public name has (RFC 1918, 6598, 3927, 4193, 4291, 1122). */
const PRIVATE: readonly Prefix[] = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '::/127',
  'fc00::/7',
  'fe80::/10',
].map(parsePrefix);

/** The last four bytes of an IPv6 address that carries an IPv4 one (RFC 4291 2.5.5.2, RFC 6052), or the bytes as they are. */
function carried(data: Buffer): Buffer {
  if (data.length !== 16) return data;
  const mapped = data.subarray(0, 12).equals(Buffer.from('00000000000000000000ffff', 'hex'));
  const translated = data.subarray(0, 12).equals(Buffer.from('0064ff9b0000000000000000', 'hex'));
  return mapped || translated ? data.subarray(12) : data;
}

/** The first private address of an answer, or undefined. */
export function privateAddressIn({ answers }: ReadResponse): string | undefined {
  for (const { type, data } of answers) {
    if (!(type === TYPE_A && data.length === 4) && !(type === TYPE_AAAA && data.length === 16)) continue;
    const bytes = carried(data);
    const family = bytes.length === 4 ? 4 : 6;
    const address = bytesToAddress(bytes);
    const number = addressToNumber(address);
    if (PRIVATE.some((prefix) => prefixContains(prefix, family, number))) return bytesToAddress(data);
  }
  return undefined;
}
