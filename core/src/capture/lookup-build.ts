/** From a capture set and the names to the worker's table. */
import type { CapturePorts, CaptureSet } from '../api/capture.ts';
import type { Family, Protocol } from '../api/flow.ts';
import { addressToWords } from './address.ts';
import type { Choices } from './choices.ts';
import { type LookupTableData, SOURCES_BELOW } from './lookup-table.ts';
import type { NameTable } from './names.ts';
import { destinationSegments, NO_PORTS, type Segment, sourceSegments } from './segments.ts';
import { NONE } from './verdict.ts';

/** Every array of the answer lies in a SharedArrayBuffer of its own, and nothing of it is written again. */
export function buildLookupTable(set: CaptureSet, names: Pick<NameTable, 'rows'>): LookupTableData {
  const ports = new PortLists();
  const destinations4 = destinationSegments(set.rows, 4);
  const destinations6 = destinationSegments(set.rows, 6);
  const listsOf = (values: ReadonlyArray<readonly CapturePorts[]>, family: Family) =>
    shared(
      Int32Array,
      values.map((value) => ports.add(value, family)),
    );
  const lists = {
    ports4: listsOf(valuesOf(destinations4), 4),
    ports6: listsOf(valuesOf(destinations6), 6),
    namePorts4: listsOf(names.rows, 4),
    namePorts6: listsOf(names.rows, 6),
  };
  return {
    generation: set.generation,
    ...lists,
    starts4: startsOf(destinations4, 4),
    starts6: startsOf(destinations6, 6),
    portIndex: shared(Int32Array, ports.index),
    portStarts: shared(Uint16Array, ports.starts),
    portValues: shared(Int32Array, ports.values),
    sourceIndex4: shared(Int32Array, ports.sources[4].index),
    sourceStarts4: startsOf(ports.sources[4].segments, 4),
    sourceValues4: shared(Int32Array, valuesOf(ports.sources[4].segments)),
    sourceIndex6: shared(Int32Array, ports.sources[6].index),
    sourceStarts6: startsOf(ports.sources[6].segments, 6),
    sourceValues6: shared(Int32Array, valuesOf(ports.sources[6].segments)),
  };
}

function valuesOf<Value>(segments: ReadonlyArray<Segment<Value>>): readonly Value[] {
  return segments.map((segment) => segment.value);
}

class SourceLists {
  readonly index: number[] = [0];
  readonly segments: Segment<number>[] = [];
  readonly #family: Family;
  readonly #known = new Map<Choices, number>();

  constructor(family: Family) {
    this.#family = family;
  }

  /** The decision where all sources have the same one; otherwise the value that stands for the list. */
  value(choices: Choices): number {
    const known = this.#known.get(choices);
    if (known !== undefined) return known;
    const segments = sourceSegments(choices, this.#family);
    let value = (segments[0] as Segment<number>).value;
    if (segments.length > 1) {
      value = SOURCES_BELOW - this.index.length;
      for (const segment of segments) this.segments.push(segment);
      this.index.push(this.segments.length);
    }
    this.#known.set(choices, value);
    return value;
  }
}

class PortLists {
  readonly index: number[] = [0];
  readonly starts: number[] = [];
  readonly values: number[] = [];
  readonly sources = { 4: new SourceLists(4), 6: new SourceLists(6) };
  readonly #known = {
    4: new Map<readonly CapturePorts[], number>(),
    6: new Map<readonly CapturePorts[], number>(),
  };

  constructor() {
    for (const family of [4, 6] as const) this.add(NO_PORTS, family);
  }

  /** The number of the list. */
  add(stretches: readonly CapturePorts[], family: Family): number {
    const known = this.#known[family].get(stretches);
    if (known !== undefined) return known;
    const number = (this.index.length - 1) / 2;
    this.#addPart(stretches, 'tcp', family);
    this.#addPart(stretches, 'udp', family);
    this.#known[family].set(stretches, number);
    return number;
  }

  #addPart(stretches: readonly CapturePorts[], protocol: Protocol, family: Family): void {
    const sources = this.sources[family];
    const begin = this.starts.length;
    const push = (start: number, value: number) => {
      if (this.starts.length > begin && this.values.at(-1) === value) return;
      this.starts.push(start);
      this.values.push(value);
    };
    let port = 0;
    for (const stretch of stretches) {
      if (stretch.protocol !== protocol) continue;
      if (stretch.first > port) push(port, NONE);
      push(stretch.first, sources.value(stretch.choices));
      port = stretch.last + 1;
    }
    if (port <= 65_535) push(port, NONE);
    this.index.push(this.starts.length);
  }
}

function startsOf(segments: ReadonlyArray<Segment<unknown>>, family: Family): Uint32Array {
  const words = segments.flatMap(({ first }) => (family === 4 ? [Number(first)] : addressToWords(first)));
  return shared(Uint32Array, words);
}

interface ArrayType<Type> {
  new (buffer: SharedArrayBuffer): Type;
  readonly BYTES_PER_ELEMENT: number;
}

function shared<Type extends { set(values: ArrayLike<number>): void }>(
  type: ArrayType<Type>,
  values: readonly number[],
): Type {
  const array = new type(new SharedArrayBuffer(values.length * type.BYTES_PER_ELEMENT));
  array.set(values);
  return array;
}
