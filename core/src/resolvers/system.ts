/** The servers that the host itself asks: the nameservers of resolv.conf, also while Weir stands in their place. */
import { readFileSync, statSync } from 'node:fs';
import { authorOf, parseResolvConf } from '../dns/resolv-conf.ts';
import { backupPath, RESOLV_CONF, type ResolvConfPlace } from '../dns/resolv-conf-claim.ts';
import type { UpstreamServer } from '../dns/upstreams.ts';

/** What libc asks when the file is missing or names no server (resolv.conf(5)). */
const DEFAULT_NAMESERVER = '127.0.0.1';

export class SystemServers {
  readonly #place: ResolvConfPlace;
  readonly #path: string;
  #seen: string | undefined;
  #servers: readonly UpstreamServer[] = [];

  constructor(place: ResolvConfPlace) {
    this.#place = place;
    this.#path = place.path ?? RESOLV_CONF;
  }

  /** The servers now; the file is read again when it has changed. */
  current(): readonly UpstreamServer[] {
    const seen = this.#stamp();
    if (seen === this.#seen) return this.#servers;
    this.#seen = seen;
    const { nameservers } = parseResolvConf(this.#read());
    const addresses = nameservers.length > 0 ? nameservers : [DEFAULT_NAMESERVER];
    this.#servers = addresses.map((address) => ({ protocol: 'udp', endpoint: { address, port: 53 } }));
    return this.#servers;
  }

  #stamp(): string {
    const stat = statSync(this.#path, { throwIfNoEntry: false });
    return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`;
  }

  #read(): string {
    try {
      const text = readFileSync(this.#path, 'latin1');
      const author = authorOf(text);
      if (author?.owner !== this.#place.owner || !author.untouched) return text;
      return readFileSync(backupPath(this.#place.stateDirectory), 'latin1');
    } catch {
      return '';
    }
  }
}
