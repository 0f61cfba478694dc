/** What handshakes are told about the flows that they are made for. */
import type { DialTarget } from '../api/dialer.ts';
import type { FlowSlab } from './flow-slab.ts';
import type { FixedTarget } from './messages.ts';
import type { NameTexts } from './name-texts.ts';

export class DialTargets {
  readonly #slab: FlowSlab;
  readonly #worker: string;
  nameTexts: NameTexts | undefined;
  serviceNames: ReadonlyMap<number, string> = new Map();

  /** @param worker what the ids of its flows begin with */
  constructor(slab: FlowSlab, worker: string) {
    this.#slab = slab;
    this.#worker = worker;
  }

  /** @param fixed where the flow goes that came by a point of one service */
  of(slot: number, fixed: FixedTarget | undefined): DialTarget {
    const { source, original, name, service, generation, protocol } = this.#slab.snapshot(slot);
    const host = name === 0 || this.nameTexts === undefined ? original.address : this.nameTexts.get(name - 1);
    return {
      host: fixed?.host ?? host,
      port: fixed?.port ?? original.port,
      protocol,
      original,
      source,
      service: this.serviceNames.get(service) ?? '',
      flow: `${this.#worker}.${slot}.${generation}`,
    };
  }
}
