/** Everything that can be measured, in the order in which it is shown. A new measure is one more entry. */
import { UsageError } from '@weir/core';
import type { Load } from '../load.ts';
import { BESIDE_BULK } from './beside-bulk.ts';
import { bulk } from './bulk.ts';
import { CONNECT } from './connect.ts';
import { connections } from './connections.ts';
import { datagrams } from './datagrams.ts';
import { IDLE_FLOWS } from './idle-flows.ts';
import { PREFIXES } from './prefixes.ts';
import { requests } from './requests.ts';
import { START } from './start.ts';

export const LOADS: readonly Load[] = [
  bulk(1, true),
  bulk(8, true),
  bulk(1, false),
  bulk(8, false),
  connections(1, false),
  connections(32, true),
  connections(128, false),
  requests(64, '64 B'),
  requests(16_384, '16 KiB'),
  CONNECT,
  BESIDE_BULK,
  datagrams(20_000),
  datagrams(100_000),
  START,
  IDLE_FLOWS,
  PREFIXES,
];

/** For `--only`: DNS has servers and load of its own, dns.ts. */
export const DNS = 'dns';

/** @throws UsageError for a name that is not known. */
export function loadsFor(only: readonly string[] | undefined, quick: boolean): readonly Load[] {
  if (only === undefined) return LOADS.filter((load) => load.quick || !quick);
  return only.flatMap((id) => {
    if (id === DNS) return [];
    const load = LOADS.find((candidate) => candidate.id === id);
    if (load !== undefined) return [load];
    throw new UsageError({
      problem: `The benchmark has no measure "${id}".`,
      remedy: `It has ${[...LOADS.map((each) => each.id), DNS].join(', ')}.`,
    });
  });
}
