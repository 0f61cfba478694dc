/**
 * Gives 1,000 names their addresses, one after the other, and prints each as soon as it may be answered; for a test that
 * kills it in between. Arguments: the path of the map, and where in the row to begin.
 */
import { writeSync } from 'node:fs';
import { createDnsCounters } from '../../../src/dns/counters.ts';
import { NameStore } from '../../../src/resolvers/name-store.ts';
import { RANGES, silent } from '../fixtures.ts';

const [, , path = '', first = '0'] = process.argv;
const store = new NameStore({
  ranges: RANGES,
  families: [4, 6],
  names: 2000,
  secret: '',
  map: { path, durable: false },
  keepMs: 3_600_000,
  counters: createDnsCounters(),
  log: silent,
});
store.pool.configure(Array.from({ length: 100 }, (_, i) => `host-${i}.internal`));
store.open();
for (let i = 0; i < 1000; i++) {
  const { name, ipv4, ipv6 } = store.pool.assign(`host-${(i + Number(first)) % 1000}.internal`);
  writeSync(1, `${name} ${ipv4} ${ipv6}\n`);
}
