/**
 * Cells in a row of which some are closed; finds the next open one in practically constant time (union-find), so that
 * painting n overlapping ranges over n cells does not take n² steps.
 */
export class OpenCells {
  readonly #next: Int32Array;

  constructor(cells: number) {
    this.#next = Int32Array.from({ length: cells + 1 }, (_, cell) => cell);
  }

  /** The first open cell at or after `cell`; the number of cells when there is none. */
  from(cell: number): number {
    let root = cell;
    while (this.#next[root] !== root) root = this.#next[root] as number;
    for (let at = cell; at !== root;) {
      const after = this.#next[at] as number;
      this.#next[at] = root;
      at = after;
    }
    return root;
  }

  close(cell: number): void {
    this.#next[cell] = cell + 1;
  }
}
