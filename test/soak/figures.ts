/** What a run of Weir holds: descriptors, memory, flows, conntrack entries, journal. Taken before a load and after it. */
import { readFileSync } from 'node:fs';
import { openDescriptors, residentBytes } from '../e2e/load-scene.ts';
import type { SoakScene } from './scene.ts';

export interface Figures {
  readonly descriptors: number;
  /** Bytes. */
  readonly resident: number;
  /** Slots of the slab that hold a flow. */
  readonly flows: number;
  readonly conntrack: number;
  /** Lines. */
  readonly journal: number;
  readonly counters: Readonly<Record<string, number>>;
}

export async function figuresOf({ weir, host }: SoakScene): Promise<Figures> {
  const { pid } = weir.process;
  // Only a look at the entries themselves makes the kernel forget those whose time is over.
  const tracked = await host.run(['sh', '-c', 'test ! -e /proc/net/nf_conntrack || wc -l < /proc/net/nf_conntrack']);
  const journal = readFileSync(`${weir.stateDirectory}/journal`, { encoding: 'utf8', flag: 'a+' });
  return {
    descriptors: openDescriptors(pid),
    resident: residentBytes(pid),
    flows: (await weir.admin.flows(10_000)).length,
    conntrack: Number(tracked.stdout.trim() || 0),
    journal: journal.split('\n').length - 1,
    counters: (await weir.admin.status()).counters,
  };
}

/** One line for the reader of a test run, e.g. in docs/performance.md. */
export function line(what: string, before: Figures, after: Figures, more: string): string {
  const of = (key: 'descriptors' | 'flows' | 'conntrack' | 'journal') => `${before[key]} → ${after[key]}`;
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
  return (
    `soak ${what}: ${more}; descriptors ${of('descriptors')}, resident ${mib(before.resident)} → ${mib(after.resident)} MiB, ` +
    `slots ${of('flows')}, conntrack ${of('conntrack')}, journal ${of('journal')}`
  );
}
