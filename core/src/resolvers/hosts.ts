/** The hosts file (hosts(5)): what this host itself says about names. Read again whenever the file has changed. */
import { readFileSync, statSync } from 'node:fs';
import type { Family } from '../api/flow.ts';
import type { Answer, Question, Resolver } from '../api/resolver.ts';
import { bytesToAddress, addressToBytes, familyOf, isAddress } from '../capture/address.ts';
import type { DnsCounters } from '../dns/counters.ts';
import { isWeirsLine } from '../dns/hosts-block.ts';

/** Bytes of a hosts file that are read at most; block lists come close to a tenth of it. */
const MAX_BYTES = 64 * 1024 * 1024;
/** Seconds that a client may keep an answer from the hosts file: it can change at any time. */
const HOSTS_TTL = 0;

type HostAddresses = Readonly<Record<Family, readonly string[]>>;

/** Names to addresses; lines that are no entries are passed over, as libc does. */
export function parseHosts(text: string): ReadonlyMap<string, HostAddresses> {
  const hosts = new Map<string, Record<Family, string[]>>();
  for (const line of text.split('\n')) {
    // Where Weir itself sends a name is not where it really is.
    if (isWeirsLine(line)) continue;
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (names.length === 0 || !isAddress(address)) continue;
    const family = familyOf(address);
    const canonical = bytesToAddress(addressToBytes(address));
    for (const written of names) {
      const name = written.toLowerCase().replace(/\.$/, '');
      const entry = hosts.get(name) ?? { 4: [], 6: [] };
      hosts.set(name, entry);
      if (!entry[family].includes(canonical)) entry[family].push(canonical);
    }
  }
  return hosts;
}

/** `localhost` and all below it are loopback, whatever a file or a server says (RFC 6761 6.3). */
const LOCALHOST: HostAddresses = { 4: ['127.0.0.1'], 6: ['::1'] };

export class HostsResolver implements Resolver {
  readonly #path: string;
  readonly #counters: DnsCounters;
  #seen = '';
  #hosts: ReadonlyMap<string, HostAddresses> = new Map();

  constructor(path: string, counters: DnsCounters) {
    this.#path = path;
    this.#counters = counters;
  }

  answer(question: Question): Promise<Answer | undefined> {
    const family = question.type === 'A' ? 4 : question.type === 'AAAA' ? 6 : undefined;
    const addresses = family === undefined ? undefined : this.lookup(question.name, family);
    if (addresses === undefined) return Promise.resolve(undefined);
    this.#counters.answeredHosts++;
    const { name, type } = question;
    const records = addresses.map((data) => ({ name, type, ttl: HOSTS_TTL, data }));
    return Promise.resolve({ records, authoritative: true });
  }

  /** The name's addresses of a family; undefined when the file does not know the name. `name` is lower case. */
  lookup(name: string, family: Family): readonly string[] | undefined {
    const known = this.#read().get(name);
    if (known !== undefined) return known[family];
    return name === 'localhost' || name.endsWith('.localhost') ? LOCALHOST[family] : undefined;
  }

  #read(): ReadonlyMap<string, HostAddresses> {
    try {
      const { mtimeMs, ctimeMs, size, ino } = statSync(this.#path);
      const seen = `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
      if (seen === this.#seen) return this.#hosts;
      this.#hosts = size > MAX_BYTES ? new Map() : parseHosts(readFileSync(this.#path, 'utf8'));
      this.#seen = seen;
    } catch {
      // No hosts file, or none that may be read: libc goes on to DNS as well.
      this.#hosts = new Map();
      this.#seen = '';
    }
    return this.#hosts;
  }
}
