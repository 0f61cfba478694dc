/**
 * The maps of a loaded program, kept equal to a content by the fewest writes. A class and a list of sources are written
 * before anything refers to them and never changed while something does; prefixes are changed in an order in which each
 * flow is answered by the old content or the new one, never by a mixture.
 */
import {
  type BoundPoint,
  type Drift,
  formatPrefix,
  keyOf,
  type OwnSources,
  type PortClass,
  type PortRange,
  type Prefix,
  type PrefixKey,
  type Protocol,
  UnsupportedError,
} from '@weir/core';
import { BpfMap } from './bpf-map.ts';
import type { MapContent, PrefixEntry } from './map-content.ts';
import {
  ANY_SOURCE,
  CLASS_LENGTH,
  classValue,
  OWN_ADDRESSES,
  type PlacedClass,
  prefixKey,
  RANGES,
  rangeValue,
  SETTINGS_LENGTH,
  settingsValue,
  socketKey,
  SOCKETS_PER_NETWORK,
  sourceKey,
  u32,
  u64,
} from './map-encoding.ts';
import { RangeStore } from './range-store.ts';
import type { SkLookup } from './sk-lookup.ts';

interface SourceList {
  readonly id: number;
  readonly sources: readonly Prefix[];
}

/** Prefixes looked at by one `verify`; the next one goes on behind them. */
const SAMPLE = 256;

const NETWORKS = ([4, 6] as const).flatMap((family) =>
  (['tcp', 'udp'] as const).map((protocol) => ({ family, protocol })),
);

export class LiveMaps {
  readonly #settings: BpfMap;
  readonly #prefixes: Readonly<Record<4 | 6, BpfMap>>;
  readonly #ranges: BpfMap;
  readonly #sources: Readonly<Record<4 | 6, BpfMap>>;
  readonly #sockets: BpfMap;
  readonly #counters: BpfMap;
  readonly #store: RangeStore;
  readonly #classes = new Map<string, PlacedClass>();
  readonly #lists = new Map<string, SourceList>();
  /** What was last applied as a whole. */
  #content: MapContent = { prefixes: new Map(), ownAddresses: [], forwarded: false };
  /** What the tries hold. */
  readonly #written = new Map<PrefixKey, PrefixEntry>();
  #ownAddresses: readonly Prefix[] = [];
  #forwarded = false;
  #nextList = 1;
  /** Not used any more since the last change; a program that ran meanwhile may still look at it. */
  #leaving: { readonly classes: readonly PlacedClass[]; readonly lists: readonly SourceList[] } = {
    classes: [],
    lists: [],
  };
  #points: readonly BoundPoint[] = [];
  #verified = 0;

  readonly #ownSources: OwnSources;

  /**
   * @param sources what local flows come from when our routes brought them here.
   * @param capacity ranges of ports that are used at most.
   */
  constructor(program: SkLookup, sources: OwnSources, capacity = RANGES) {
    this.#store = new RangeStore(capacity);
    const map = (name: string) => new BpfMap(name, program.map(name));
    this.#settings = map('settings');
    this.#prefixes = { 4: map('prefixes4'), 6: map('prefixes6') };
    this.#ranges = map('ranges');
    this.#sources = { 4: map('sources4'), 6: map('sources6') };
    this.#sockets = map('sockets');
    this.#counters = map('counters');
    this.#ownSources = sources;
    this.#writeSettings();
  }

  /**
   * Which sockets take the flows: those of the points in worker order, as many as there is place for. New ones are there
   * before the old ones go, so that no flow is dropped in between.
   */
  setPoints(points: readonly BoundPoint[]): void {
    this.#points = points;
    this.#eachSocket((key, fd) => {
      if (fd === undefined) this.#sockets.delete(key);
      else this.#sockets.set(key, u64(fd));
    });
  }

  /**
   * Makes the maps hold `content`.
   * @throws UnsupportedError when it does not fit; HostChangeError. The maps then hold what they held before.
   */
  apply(content: MapContent): void {
    this.#forget();
    try {
      this.#change(content);
    } catch (error) {
      this.#change(this.#content);
      throw error;
    }
    this.#content = content;
  }

  /** How often the program has captured a flow, taken one that nobody wanted any more, or found no socket. */
  counters(): { readonly captured: number; readonly strays: number; readonly dropped: number } {
    const [captured = 0, strays = 0, dropped = 0] = [0, 1, 2].map((index) =>
      Number(this.#counters.get(u32(index), 8)?.readBigUInt64LE() ?? 0n),
    );
    return { captured, strays, dropped };
  }

  /** Settings and sockets as a whole, and the next part of the prefixes. */
  verify(): readonly Drift[] {
    const drift: Drift[] = [];
    const note = (object: string, expected: string, found: string) => drift.push({ object, expected, found });
    const settings = this.#settings.get(u32(0), SETTINGS_LENGTH);
    if (!settings?.equals(this.#settingsValue())) note('bpf map settings', 'as written', 'others');
    let lost = 0;
    this.#eachSocket((key, fd) => {
      if (fd !== undefined && this.#sockets.get(key, 8) === undefined) lost++;
    });
    if (lost > 0) note('bpf map sockets', 'all listeners', `${lost} missing`);
    const entries = [...this.#written.values()];
    const part = entries.slice(this.#verified, this.#verified + SAMPLE);
    this.#verified = this.#verified + SAMPLE >= entries.length ? 0 : this.#verified + SAMPLE;
    const wrong = part.filter((entry) => !this.#isWritten(entry)).map(({ prefix }) => formatPrefix(prefix));
    if (wrong.length > 0) {
      note('bpf map prefixes', `${part.length} as written`, `${wrong.length} others (${wrong.slice(0, 3).join(', ')})`);
    }
    return drift;
  }

  /** Writes everything again. */
  repair(): void {
    this.#writeSettings();
    this.setPoints(this.#points);
    this.#writeSources(OWN_ADDRESSES, this.#ownAddresses);
    for (const [text, { id, sources }] of this.#lists) this.#writeList(text, { id, sources });
    for (const { class: each } of this.#written.values()) this.#writeRanges(each, this.#placeOf(each));
    for (const entry of longestFirst(this.#written.values())) this.#writePrefix(entry);
  }

  #change({ prefixes, ownAddresses, forwarded }: MapContent): void {
    const added: PrefixEntry[] = [];
    const changed: PrefixEntry[] = [];
    for (const [key, entry] of prefixes) {
      const old = this.#written.get(key);
      if (old === entry) continue;
      if (!old) added.push(entry);
      else if (old.class.text !== entry.class.text || old.own !== entry.own) changed.push(entry);
    }
    const removed: PrefixEntry[] = [];
    for (const [key, entry] of this.#written) if (!prefixes.has(key)) removed.push(entry);
    const gone = this.#ownAddresses.filter((own) => !ownAddresses.some((each) => samePrefix(each, own)));
    this.#writeSources(OWN_ADDRESSES, ownAddresses);
    this.#ownAddresses = [...ownAddresses, ...gone];
    this.#writeSettings();
    for (const entry of [...added, ...changed]) this.#place(entry.class);
    for (const entry of longestFirst(added)) this.#writePrefix(entry);
    for (const entry of changed) this.#writePrefix(entry);
    for (const entry of longestFirst(removed).toReversed()) {
      this.#prefixes[entry.prefix.family].delete(prefixKey(entry.prefix));
      this.#written.delete(keyOf(entry.prefix));
    }
    for (const prefix of gone) this.#sources[prefix.family].delete(sourceKey(OWN_ADDRESSES, prefix));
    this.#ownAddresses = ownAddresses;
    this.#forwarded = forwarded;
    this.#writeSettings();
    this.#leaving = this.#unused();
  }

  #settingsValue(): Buffer {
    return settingsValue(this.#ownSources, this.#ownAddresses.length > 0, this.#forwarded);
  }

  #writeSettings(): void {
    this.#settings.set(u32(0), this.#settingsValue());
  }

  #writePrefix(entry: PrefixEntry): void {
    const { prefix } = entry;
    this.#prefixes[prefix.family].set(prefixKey(prefix), classValue(this.#placeOf(entry.class), entry.own));
    this.#written.set(keyOf(prefix), entry);
  }

  #isWritten(entry: PrefixEntry): boolean {
    const found = this.#prefixes[entry.prefix.family].get(prefixKey(entry.prefix), CLASS_LENGTH);
    return found?.equals(classValue(this.#placeOf(entry.class), entry.own)) ?? false;
  }

  #placeOf(each: PortClass): PlacedClass {
    return this.#classes.get(each.text) as PlacedClass;
  }

  /** Writes the ranges of a class that is not there yet. */
  #place(each: PortClass): void {
    if (this.#classes.has(each.text)) return;
    const length = each.tcp.length + each.udp.length;
    const first = this.#store.take(length);
    if (first === undefined) {
      throw new UnsupportedError({
        problem: `The capture set needs more than the ${this.#store.capacity} port ranges that the sk_lookup program can hold.`,
        remedy: 'Give services that lie within another one fewer ports, or use another interceptor.',
      });
    }
    const placed = { first, tcp: each.tcp.length, udp: each.udp.length };
    this.#classes.set(each.text, placed);
    this.#writeRanges(each, placed);
  }

  #writeRanges({ tcp, udp }: PortClass, { first }: PlacedClass): void {
    for (const [index, range] of [...tcp, ...udp].entries()) {
      this.#ranges.set(u32(first + index), rangeValue(range.first, range.last, this.#listOf(range)));
    }
  }

  #listOf({ sources }: PortRange): number {
    if (sources.length === 0) return ANY_SOURCE;
    const text = sources.map(formatPrefix).join(' ');
    const known = this.#lists.get(text);
    if (known) return known.id;
    const list = { id: this.#nextList++, sources };
    this.#writeList(text, list);
    return list.id;
  }

  #writeList(text: string, list: SourceList): void {
    // Known before it is complete, so that a failure in the middle leaves nothing that nobody knows of.
    this.#lists.set(text, list);
    this.#writeSources(list.id, list.sources);
  }

  #writeSources(list: number, sources: readonly Prefix[]): void {
    for (const prefix of sources) this.#sources[prefix.family].set(sourceKey(list, prefix), Uint8Array.of(1));
  }

  /** Classes and lists that no prefix refers to. */
  #unused(): { readonly classes: readonly PlacedClass[]; readonly lists: readonly SourceList[] } {
    const inUse = new Set<PortClass>();
    for (const entry of this.#written.values()) inUse.add(entry.class);
    const used = new Map([...inUse].map((each) => [each.text, each] as const));
    const listed = new Set(
      [...used.values()].flatMap(({ tcp, udp }) =>
        [...tcp, ...udp].map(({ sources }) => sources.map(formatPrefix).join(' ')),
      ),
    );
    const classes = [...this.#classes].filter(([text]) => !used.has(text));
    const lists = [...this.#lists].filter(([text]) => !listed.has(text));
    for (const [text] of classes) this.#classes.delete(text);
    for (const [text] of lists) this.#lists.delete(text);
    return { classes: classes.map(([, placed]) => placed), lists: lists.map(([, list]) => list) };
  }

  #forget(): void {
    this.#release(this.#leaving);
    this.#leaving = { classes: [], lists: [] };
  }

  #release({
    classes,
    lists,
  }: {
    readonly classes: readonly PlacedClass[];
    readonly lists: readonly SourceList[];
  }): void {
    for (const { first, tcp, udp } of classes) this.#store.give(first, tcp + udp);
    for (const { id, sources } of lists) {
      for (const prefix of sources) this.#sources[prefix.family].delete(sourceKey(id, prefix));
    }
  }

  #eachSocket(use: (key: Buffer, fd: number | undefined) => void): void {
    const fdsOf = (network: { readonly family: 4 | 6; readonly protocol: Protocol }) =>
      this.#points
        .filter((point) => point.network.family === network.family && point.network.protocol === network.protocol)
        .flatMap((point) => point.fds);
    for (const network of NETWORKS) {
      const fds = fdsOf(network);
      for (let index = 0; index < SOCKETS_PER_NETWORK; index++) use(socketKey(network, index), fds[index]);
    }
  }
}

function samePrefix(a: Prefix, b: Prefix): boolean {
  return a.family === b.family && a.address === b.address && a.length === b.length;
}

function longestFirst(entries: Iterable<PrefixEntry>): readonly PrefixEntry[] {
  return [...entries].toSorted((a, b) => b.prefix.length - a.prefix.length);
}
