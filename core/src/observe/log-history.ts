/**
 * The newest lines of a log, for `weir logs`: as JSON whatever form the operator's own copy has. Bounded in lines and in
 * characters; what falls out is gone, since the log itself went to standard error.
 */

/** Lines kept at most. */
export const MAX_LINES = 1000;

/** Characters kept at most, of all lines together. */
export const MAX_CHARACTERS = 1024 * 1024;

export class LogHistory {
  readonly #lines: string[] = [];
  readonly #listeners = new Set<(line: string) => void>();
  #characters = 0;

  /** @param line one JSON object, with or without a newline at its end */
  add(line: string): void {
    const kept = line.trimEnd();
    this.#lines.push(kept);
    this.#characters += kept.length;
    while (this.#lines.length > MAX_LINES || (this.#characters > MAX_CHARACTERS && this.#lines.length > 1)) {
      this.#characters -= (this.#lines.shift() as string).length;
    }
    for (const listener of this.#listeners) listener(kept);
  }

  /** The newest lines, oldest first, at most `limit`. */
  last(limit: number): readonly string[] {
    return this.#lines.slice(-limit);
  }

  /** Calls back for each line from now on; returns the unsubscribe. */
  onLine(listener: (line: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
