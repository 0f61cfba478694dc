/**
 * The texts that stand for values in a configuration: durations, sizes, ports, prefixes, names, endpoints. Each parser
 * returns the value or throws a {@link ScalarFault} that says what is wrong and what is allowed instead.
 */
import { domainToASCII } from 'node:url';
import type { OwnerMatch } from '../api/capture.ts';
import type { Endpoint, Prefix } from '../api/flow.ts';
import { addressToNumber, familyOf, isAddress, maskOf, numberToAddress, widthOf } from '../capture/address.ts';
import { NR_CPUS_RANGE_END } from '../sys/constants.ts';
import type { DnsListen, PortRange, Reach, UpstreamConfiguration, UpstreamProtocol, UpstreamSource } from './model.ts';

/** A value that is refused. Not for operators: the loader turns it into a placed fault. */
export class ScalarFault extends Error {
  readonly problem: string;
  readonly allowed: string;

  constructor(problem: string, allowed: string) {
    super(`${problem}: ${allowed}`);
    this.name = 'ScalarFault';
    this.problem = problem;
    this.allowed = allowed;
  }
}

/** One line without control characters: what a file holds must not steer a terminal. Tabs stay. */
export function printable(line: string): string {
  // oxlint-disable-next-line no-control-regex
  return line.replace(/[\r\n]+$/, '').replaceAll(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g, '?');
}

/** How a value is quoted in a problem: bounded and on one line, since it may be anything. */
export function quote(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** Names kernel objects (`inet weir_<owner>`; a chain of iptables has room for 28 characters) and a directory. */
export const OWNER = /^[A-Za-z0-9][A-Za-z0-9_-]{0,23}$/;

export const ALLOWED = {
  instance: 'letters, digits, "_" and "-", at most 24, the first no dash: default, edge-1',
  duration: 'a duration with a unit: 250ms, 10s, 5m, 1h',
  count: 'a whole number, or one with k or M: 50000, 50k',
  port: 'a port 1–65535, or a range as 8000-8100',
  prefix: 'an IPv4 or IPv6 prefix or address: 203.0.113.0/24, "2001:db8::/48", 192.0.2.7',
  name: 'a name as web.internal, or "*.apps.internal" for all names below',
  pattern: 'web.internal, "*.apps.internal" or "api-*.internal"; "!x.apps.internal" without that name',
  endpoint: 'an address and a port: 127.0.0.1:15432 or "[::1]:15432"',
  hostPort: 'a host and a port: 10.0.0.5:6432, db.example:5432 or "[2001:db8::5]:80"',
  owner: 'uid:1000, uid:1000-1999, gid:33 or cgroup:/path',
  processors: 'none, auto, or processors in the order of the workers: "0-3,8"',
  dns: 'udp://127.0.0.1:53 or tcp://[::1]:53',
  upstream:
    'system, or a server as udp://192.0.2.53, tcp://[2001:db8::53]:53, tls://192.0.2.53#dns.example or https://dns.example/dns-query',
  suffix: 'a name; it stands for itself and all names below: corp.example',
  map: 'state, off, or an absolute path: /var/lib/weir/names',
  reach: 'auto, capture, systemd-resolved, resolv-conf, hosts:///etc/hosts or none',
} as const;

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
/** What a timer of Node can wait for. */
const MAX_DURATION = 2 ** 31 - 1;

/** Milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-zA-Zµ]*)$/.exec(text.trim());
  const amount = match?.[1];
  if (amount === undefined) throw new ScalarFault(`${quote(text)} is not a duration`, ALLOWED.duration);
  const unit = match?.[2] ?? '';
  if (unit === '') throw new ScalarFault(`the duration ${quote(text)} has no unit`, ALLOWED.duration);
  const factor = Object.hasOwn(DURATION_UNITS, unit) ? DURATION_UNITS[unit] : undefined;
  if (factor === undefined) throw new ScalarFault(`${quote(unit)} is not a unit of time`, ALLOWED.duration);
  const milliseconds = Math.round(Number(amount) * factor);
  if (milliseconds < 1 || milliseconds > MAX_DURATION) {
    throw new ScalarFault(`the duration ${quote(text)} is out of range`, 'between 1ms and 596h');
  }
  return milliseconds;
}

/** A plain count, `50000`, `50k` or `2M` (powers of ten). */
export function parseCount(value: number | string, minimum: number, maximum: number): number {
  const match = /^(\d+)\s*([kM]?)$/.exec(String(value).trim());
  if (match === null) throw new ScalarFault(`${quote(value)} is not a count`, ALLOWED.count);
  const count = Number(match[1]) * (match[2] === 'k' ? 1000 : match[2] === 'M' ? 1_000_000 : 1);
  if (count < minimum || count > maximum) {
    throw new ScalarFault(`${quote(value)} is out of range`, `a number from ${minimum} to ${maximum}`);
  }
  return count;
}

function portNumber(text: string, allowed: string): number {
  const port = Number(text);
  if (port < 1 || port > 65_535) throw new ScalarFault(`port ${text} is out of range`, allowed);
  return port;
}

/** `443` or `8000-8100`, inclusive. */
export function parsePorts(value: number | string): PortRange {
  const match = /^\s*(\d{1,9})\s*(?:[-–]\s*(\d{1,9})\s*)?$/.exec(String(value));
  if (match === null) throw new ScalarFault(`${quote(value)} is not a port`, ALLOWED.port);
  const first = portNumber(match[1] as string, ALLOWED.port);
  const last = match[2] === undefined ? first : portNumber(match[2], ALLOWED.port);
  if (last < first) {
    throw new ScalarFault(`the range ${quote(value)} is upside down`, `the lower port first: ${last}-${first}`);
  }
  return { first, last };
}

/** `none`, `auto`, or the numbers of `0-3,8` in that order. */
export function parseProcessors(value: number | string): 'none' | 'auto' | readonly number[] {
  const text = String(value).trim();
  if (text === 'none' || text === 'auto') return text;
  const processors = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?$/.exec(part);
    if (match === null) throw new ScalarFault(`${quote(value)} is no list of processors`, ALLOWED.processors);
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    if (last < first) {
      throw new ScalarFault(`the range ${quote(part)} is upside down`, `the lower processor first: ${last}-${first}`);
    }
    if (last >= NR_CPUS_RANGE_END) {
      throw new ScalarFault(`there is no processor ${last}`, `processors from 0 to ${NR_CPUS_RANGE_END - 1}`);
    }
    for (let processor = first; processor <= last; processor++) {
      if (processors.has(processor)) {
        throw new ScalarFault(
          `processor ${processor} is there twice`,
          'each once: workers beyond the list begin it again',
        );
      }
      processors.add(processor);
    }
  }
  return [...processors];
}

/** Sorts and joins ranges, so that they are disjoint and none touches the next. */
export function joinPorts(ranges: readonly PortRange[]): readonly PortRange[] {
  const joined: Array<{ first: number; last: number }> = [];
  for (const range of [...ranges].sort((a, b) => a.first - b.first)) {
    const tail = joined.at(-1);
    if (tail !== undefined && range.first <= tail.last + 1) tail.last = Math.max(tail.last, range.last);
    else joined.push({ ...range });
  }
  return joined;
}

/** A prefix, or an address as a prefix of full length. Bits after the length are refused, with the prefix that was meant. */
export function parseNetwork(text: string): Prefix {
  const [address = '', length, extra] = text.split('/');
  if (address.includes('%')) throw new ScalarFault(`${quote(text)} has a zone`, 'an address without %interface');
  if (!isAddress(address) || extra !== undefined) {
    throw new ScalarFault(`${quote(text)} is not an address or prefix`, ALLOWED.prefix);
  }
  const family = familyOf(address);
  const width = widthOf(family);
  if (length !== undefined && (!/^\d{1,3}$/.test(length) || Number(length) > width)) {
    throw new ScalarFault(`${quote(length)} is not a prefix length of IPv${family}`, `/0 to /${width}`);
  }
  const bits = length === undefined ? width : Number(length);
  const value = addressToNumber(address);
  const masked = value & maskOf(family, bits);
  if (masked !== value) {
    throw new ScalarFault(
      `${quote(text)} has bits set after its prefix length`,
      `${numberToAddress(family, masked)}/${bits}, or ${numberToAddress(family, value)}/${width} for that one address`,
    );
  }
  if (family === 6 && bits >= 96 && value >> 32n === 0xffffn) {
    const v4 = `${numberToAddress(4, value & 0xffff_ffffn)}/${bits - 96}`;
    throw new ScalarFault(`${quote(text)} is an IPv4-mapped IPv6 prefix, which no packet carries`, v4);
  }
  return { family, address: value, length: bits };
}

/** A DNS name: lower case, without the trailing dot, international labels as punycode. */
export function parseName(text: string, allowed: string = ALLOWED.name): string {
  const bad = (problem: string) => new ScalarFault(problem, allowed);
  let name = text.endsWith('.') ? text.slice(0, -1) : text;
  if (name === '') throw bad(`${quote(text)} is not a name`);
  if (name.includes('*')) throw bad(`${quote(text)} is no single ${allowed === ALLOWED.hostPort ? 'host' : 'name'}`);
  // Anything but printable ASCII goes through IDNA, which refuses what is no letter.
  if (/[^ -~]/.test(name)) {
    const ascii = domainToASCII(name);
    if (ascii === '') throw bad(`${quote(text)} is not a name`);
    name = ascii;
  }
  name = name.toLowerCase();
  const labels = name.split('.');
  for (const label of labels) {
    if (label === '') throw bad(`${quote(text)} has an empty label`);
    if (label.length > 63) throw bad(`${quote(text)} has a label of more than 63 characters`);
    if (!/^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?$/.test(label)) {
      throw bad(`${quote(text)} is not a name: ${quote(label)} may not stand between dots`);
    }
  }
  if (name.length > 253) throw bad(`${quote(text)} is longer than 253 characters`);
  if (/^\d+$/.test(labels.at(-1) as string)) {
    throw new ScalarFault(`${quote(text)} is neither an address nor a name`, `${ALLOWED.prefix}; or ${allowed}`);
  }
  return name;
}

/** A label in which `*` stands for any characters and `?` for one. */
const GLOB_LABEL = /^[a-z0-9_*?-]+$/;

/**
 * A pattern for names: a name, `*.suffix` for all names below, or with `*` and `?` inside of its labels; behind `!` what
 * is not meant by the others. Lower case, without the trailing dot.
 */
export function parseNamePattern(text: string): string {
  if (text.startsWith('!')) {
    const inner = text.slice(1).trim();
    if (inner.startsWith('!')) throw new ScalarFault(`${quote(text)} is not a name`, ALLOWED.pattern);
    return `!${parseNamePattern(inner)}`;
  }
  if (!/[*?]/.test(text)) return parseName(text, ALLOWED.pattern);
  const bad = (problem: string) => new ScalarFault(problem, ALLOWED.pattern);
  const labels = (text.endsWith('.') ? text.slice(0, -1) : text).split('.').map((label) => {
    if (!/[*?]/.test(label)) return label === '' ? label : parseLabel(label);
    const lower = label.toLowerCase();
    if (!GLOB_LABEL.test(lower))
      throw bad(`${quote(text)} is not a pattern: ${quote(label)} may not stand between dots`);
    // Two in a row say no more than one.
    return lower.replaceAll(/\*+/g, '*');
  });
  const pattern = labels.join('.');
  if (labels.includes('')) throw bad(`${quote(text)} has an empty label`);
  if (labels.some((label) => label.length > 63)) throw bad(`${quote(text)} has a label of more than 63 characters`);
  if (pattern.length > 253) throw bad(`${quote(text)} is longer than 253 characters`);
  if (!/[a-z0-9_]/.test(pattern)) throw bad(`${quote(text)} is a pattern for every name`);
  return pattern;
}

/** A label as part of a pattern; digits alone may be its last one only there. */
function parseLabel(label: string): string {
  return parseName(`${label}.x`, ALLOWED.pattern).slice(0, -2);
}

/** What stands in `addresses`: a prefix where it looks like one, else a name. */
export function parseAddressOrName(text: string): { readonly prefix: Prefix } | { readonly name: string } {
  if (text.includes('://')) {
    throw new ScalarFault(`${quote(text)} is a URL`, 'a name or a prefix without scheme; ports stand in "ports"');
  }
  if (text.startsWith('!') && (/[/:]/.test(text) || /^![\d.]+$/.test(text))) {
    throw new ScalarFault(`${quote(text)} excludes a prefix`, 'prefixes that are left alone stand in "exclude"');
  }
  if (text.includes('/') || text.includes(':') || /^[\d.]+$/.test(text)) {
    if (/^(?:[^/:]+|\[.*\]):\d+$/.test(text)) {
      throw new ScalarFault(`${quote(text)} has a port`, 'a name or a prefix alone; ports stand in "ports"');
    }
    return { prefix: parseNetwork(text) };
  }
  return { name: parseNamePattern(text) };
}

/** Splits `host:port` and `[v6]:port`. The host is an address or a name. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,9})$/.exec(text);
  if (match === null) {
    const bare = /^(.*):(\d{1,5})$/.exec(text);
    if (bare !== null && isAddress(bare[1] as string)) {
      throw new ScalarFault(`${quote(text)} lacks the brackets of IPv6`, `"[${bare[1]}]:${bare[2]}"`);
    }
    if (text.includes(':') && isAddress(text)) throw new ScalarFault(`${quote(text)} has no port`, `"[${text}]:80"`);
    throw new ScalarFault(`${quote(text)} is not a host and a port`, ALLOWED.hostPort);
  }
  const port = portNumber(match[3] as string, ALLOWED.hostPort);
  const bracketed = match[1];
  if (bracketed !== undefined) {
    if (!bracketed.includes(':') || !isAddress(bracketed)) {
      throw new ScalarFault(`${quote(bracketed)} is not an IPv6 address`, ALLOWED.hostPort);
    }
    return { host: numberToAddress(6, addressToNumber(bracketed)), port };
  }
  const host = match[2] as string;
  if (isAddress(host)) return { host, port };
  return { host: parseName(host, ALLOWED.hostPort), port };
}

/** An address and a port; no name, since it is bound before anything can be resolved. */
export function parseEndpoint(text: string): Endpoint {
  const { host, port } = parseHostPort(text);
  if (!isAddress(host)) throw new ScalarFault(`${quote(host)} is not an address`, ALLOWED.endpoint);
  return { address: host, port };
}

/** `udp://127.0.0.1:53`; the port is 53 where there is none. */
export function parseDnsEndpoint(text: string, allowed: string = ALLOWED.dns): DnsListen {
  const match = /^(udp|tcp):\/\/(.+)$/.exec(text);
  if (match === null) throw new ScalarFault(`${quote(text)} is not a DNS endpoint`, allowed);
  const rest = match[2] as string;
  const protocol = match[1] as 'udp' | 'tcp';
  const alone = /^\[(.*)\]$/.exec(rest)?.[1] ?? rest;
  if (isAddress(alone) && (rest.startsWith('[') || !alone.includes(':'))) {
    return { protocol, endpoint: { address: alone, port: 53 } };
  }
  try {
    return { protocol, endpoint: parseEndpoint(rest) };
  } catch (error) {
    if (error instanceof ScalarFault) throw new ScalarFault(error.problem, allowed);
    throw error;
  }
}

const UPSTREAM_PORTS = { udp: 53, tcp: 53, tls: 853, https: 443 } as const;

/** `udp://192.0.2.53`, `tls://192.0.2.53:853#dns.example`, `https://dns.example/dns-query`. */
export function parseUpstreamServer(text: string): UpstreamConfiguration {
  const match = /^(udp|tcp|tls|https):\/\/([^/#?]+)(\/[^#\s]*)?(?:#(.+))?$/.exec(text);
  if (match === null) throw new ScalarFault(`${quote(text)} is not an upstream`, ALLOWED.upstream);
  const protocol = match[1] as UpstreamProtocol;
  const [, , place = '', path, name] = match;
  const secure = protocol === 'tls' || protocol === 'https';
  if (path !== undefined && protocol !== 'https') {
    throw new ScalarFault(`${quote(text)} has a path, which only https:// takes`, ALLOWED.upstream);
  }
  if (name !== undefined && !secure) {
    throw new ScalarFault(`${quote(text)} has a name behind #, which only tls:// and https:// take`, ALLOWED.upstream);
  }
  const endpoint = upstreamEndpoint(text, place, UPSTREAM_PORTS[protocol]);
  if (!secure && !isAddress(endpoint.address)) {
    throw new ScalarFault(`${quote(endpoint.address)} is not an address`, ALLOWED.upstream);
  }
  const serverName = name === undefined ? undefined : parseName(name, ALLOWED.upstream);
  return {
    protocol,
    endpoint,
    ...(serverName === undefined ? {} : { serverName }),
    ...(protocol === 'https' ? { path: path ?? '/dns-query' } : {}),
  };
}

function upstreamEndpoint(text: string, place: string, port: number): Endpoint {
  const alone = /^\[(.*)\]$/.exec(place)?.[1] ?? place;
  if (isAddress(alone) && (place.startsWith('[') || !alone.includes(':'))) return { address: alone, port };
  try {
    if (!place.includes(':')) return { address: parseName(place, ALLOWED.upstream), port };
    const { host, port: given } = parseHostPort(place);
    return { address: host, port: given };
  } catch (error) {
    if (error instanceof ScalarFault) throw new ScalarFault(`${quote(text)}: ${error.problem}`, ALLOWED.upstream);
    throw error;
  }
}

export function parseUpstream(text: string): UpstreamSource {
  return text === 'system' ? 'system' : parseUpstreamServer(text);
}

/** `state`, `off`, or an absolute path. */
export function parseMapPlace(text: string): string {
  if (text === 'state' || text === 'off' || /^\/.*[^/]$/.test(text)) return text;
  throw new ScalarFault(`${quote(text)} is no place for the map of names`, ALLOWED.map);
}

/** A duration, or 0 for `off`. */
export function parseDurationOrOff(text: string): number {
  return text === 'off' ? 0 : parseDuration(text);
}

const REACHES = new Set(['auto', 'resolv-conf', 'none', 'capture', 'systemd-resolved']);

export function parseReach(text: string): Reach {
  if (REACHES.has(text)) return text as Reach;
  const hosts = /^hosts:\/\/(\/.+)$/.exec(text)?.[1];
  if (hosts !== undefined) return { hosts };
  throw new ScalarFault(`${quote(text)} is no way to reach the resolver`, ALLOWED.reach);
}

/** `uid:1000`, `gid:100-199`, `cgroup:/system.slice/app.service`. */
export function parseOwnerMatch(text: string): OwnerMatch {
  const path = /^cgroup:((?:\/[^/"\\\s]+)+)\/?$/.exec(text)?.[1];
  // No way up and no way round: the path is also what the kernel's tools are told.
  if (path !== undefined && !/\/\.{1,2}(?:\/|$)/.test(path)) return { kind: 'cgroup', path };
  const match = /^(uid|gid):(\d{1,10})(?:-(\d{1,10}))?$/.exec(text);
  if (match === null) throw new ScalarFault(`${quote(text)} names no process owner`, ALLOWED.owner);
  const first = Number(match[2]);
  const last = match[3] === undefined ? first : Number(match[3]);
  if (last < first) throw new ScalarFault(`the range ${quote(text)} is upside down`, `${match[1]}:${last}-${first}`);
  // (uid_t)-1 means "no change" to the kernel and is nobody's id.
  if (last >= 0xffff_ffff) throw new ScalarFault(`${quote(text)} is out of range`, 'ids from 0 to 4294967294');
  return { kind: match[1] as 'uid' | 'gid', first, last };
}
