/** Which entries of the array `ranges` are in use. */

interface Gap {
  readonly first: number;
  readonly length: number;
}

export class RangeStore {
  readonly #capacity: number;
  /** Ascending, never adjacent. */
  #gaps: readonly Gap[];
  #used = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#gaps = [{ first: 0, length: capacity }];
  }

  get capacity(): number {
    return this.#capacity;
  }

  get used(): number {
    return this.#used;
  }

  /** A run of `length` free entries, now taken; `undefined` when there is none. A run of 0 is at 0. */
  take(length: number): number | undefined {
    if (length === 0) return 0;
    const index = this.#gaps.findIndex((gap) => gap.length >= length);
    const gap = this.#gaps[index];
    if (!gap) return undefined;
    const rest = gap.length === length ? [] : [{ first: gap.first + length, length: gap.length - length }];
    this.#gaps = this.#gaps.toSpliced(index, 1, ...rest);
    this.#used += length;
    return gap.first;
  }

  /** Gives back what `take` gave. */
  give(first: number, length: number): void {
    if (length === 0) return;
    this.#used -= length;
    let from = first;
    let to = first + length;
    const others: Gap[] = [];
    for (const gap of this.#gaps) {
      if (gap.first + gap.length === from) from = gap.first;
      else if (gap.first === to) to = gap.first + gap.length;
      else others.push(gap);
    }
    const at = others.findIndex((gap) => gap.first > from);
    this.#gaps = others.toSpliced(at < 0 ? others.length : at, 0, { first: from, length: to - from });
  }
}
