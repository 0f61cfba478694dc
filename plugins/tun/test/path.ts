/** A packet path without a device: what would be read goes in, what would be written comes out. */
import {
  addressToBytes,
  createHeldTable,
  createNatTable,
  HeldTable,
  NAT_ENTRY,
  NAT_HEAD,
  NAT_ORIGINAL_PORT,
  NAT_SOURCE_PORT,
} from '@weir/core';
import { TunCounters, type TunCounter } from '../src/counters.ts';
import { HeldSyns } from '../src/held-syns.ts';
import { NatFlows, type NatTimes } from '../src/nat-flows.ts';
import { PacketPath, VNET_HEADER } from '../src/packet-path.ts';

export const OWN = { 4: '169.254.84.1', 6: 'fd64:7765:6972:ffff::1' } as const;
export const NAT = { 4: '169.254.85.0', 6: 'fd64:7765:6972:fffe::' } as const;
export const LISTENERS = { tcp: 40_001, udp: 40_002 } as const;
export const FIRST_PORT = 1024;

export interface TestPathOptions {
  /** Addresses and ports that flows get. */
  readonly addresses?: number;
  readonly ports?: number;
  readonly times?: NatTimes;
  /** Connections of each family wait for their upstream, so many at once. */
  readonly held?: number;
}

export class TestPath {
  readonly flows: Readonly<Record<'tcp4' | 'tcp6' | 'udp4' | 'udp6', NatFlows>>;
  readonly tables: Readonly<Record<'tcp4' | 'tcp6' | 'udp4' | 'udp6', Int32Array>>;
  readonly buffer = new Uint8Array(VNET_HEADER + 65_535);
  readonly #counters = new TunCounters();
  /** Where connections that wait are announced; a test answers in the data plane's stead. */
  readonly held: readonly HeldTable[];
  readonly #path: PacketPath;

  constructor({ addresses = 2, ports = 64, times, held }: TestPathOptions = {}) {
    const tables: Record<string, Int32Array> = {};
    const make = (protocol: 'tcp' | 'udp', family: 4 | 6): NatFlows => {
      const firstAddress = addressToBytes(NAT[family]);
      const block = { family, firstAddress, addresses, firstPort: FIRST_PORT, ports };
      const table = createNatTable(block);
      tables[`${protocol}${family}`] = new Int32Array(table);
      const own = addressToBytes(OWN[family]);
      return new NatFlows({
        ...block,
        protocol,
        table,
        own,
        port: LISTENERS[protocol],
        ...(times === undefined ? {} : { times }),
      });
    };
    this.flows = { tcp4: make('tcp', 4), tcp6: make('tcp', 6), udp4: make('udp', 4), udp6: make('udp', 6) };
    this.tables = tables as TestPath['tables'];
    const waiting: HeldTable[] = [];
    const heldOf = (flows: NatFlows): HeldSyns | undefined => {
      if (held === undefined) return undefined;
      const table = createHeldTable(held);
      const view = new HeldTable(table);
      view.workers = [-1];
      waiting.push(view);
      return new HeldSyns({ flows, table, buffer: this.buffer, wake: () => undefined });
    };
    const family = (of: 4 | 6) => ({
      own: addressToBytes(OWN[of]),
      firstAddress: addressToBytes(NAT[of]),
      addresses: 16,
      tcp: this.flows[`tcp${of}`],
      udp: this.flows[`udp${of}`],
      held: heldOf(this.flows[`tcp${of}`]),
    });
    this.#path = new PacketPath({
      buffer: this.buffer,
      counters: this.#counters,
      families: { 4: family(4), 6: family(6) },
    });
    this.held = waiting;
  }

  /** @returns what is written to the device for the answers that have come. */
  answered(now: number): readonly Uint8Array[] {
    const out: Uint8Array[] = [];
    this.#path.sweepHeld(now);
    this.#path.answerHeld(now, (length) => out.push(this.buffer.slice(0, length)));
    return out;
  }

  drain(): void {
    this.#path.draining = true;
  }

  /** @returns what is written to the device for what was read from it; `undefined`: nothing. */
  take(packet: Uint8Array, now = 0): Uint8Array | undefined {
    this.buffer.set(packet);
    const length = this.#path.take(packet.length, now);
    return length === 0 ? undefined : this.buffer.slice(0, length);
  }

  /** Counters that are not 0. */
  counted(): Partial<Record<TunCounter, number>> {
    return Object.fromEntries(Object.entries(this.#counters.read()).filter(([, count]) => count > 0));
  }

  /** Ports of an entry of a table, as the data plane reads them. */
  portsAt(table: keyof TestPath['tables'], entry: number): { readonly source: number; readonly original: number } {
    const at = NAT_HEAD + NAT_ENTRY * entry;
    const words = this.tables[table];
    return { source: words[at + NAT_SOURCE_PORT] as number, original: words[at + NAT_ORIGINAL_PORT] as number };
  }
}
