/** A bounded cache whose entries end with their TTL. When it is full, the entry that was put in first goes. */
export class TtlCache<Value> {
  readonly #entries = new Map<string, { readonly value: Value; readonly expires: number }>();
  readonly #limit: number;
  readonly #now: () => number;

  /** `now` in milliseconds, monotonic. */
  constructor(limit: number, now: () => number = () => performance.now()) {
    this.#limit = limit;
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The value and the whole seconds it is still good for, at least 1. */
  get(key: string): { readonly value: Value; readonly ttl: number } | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const left = entry.expires - this.#now();
    if (left > 0) return { value: entry.value, ttl: Math.ceil(left / 1000) };
    this.#entries.delete(key);
    return undefined;
  }

  /** Keeps the value for `ttl` seconds; not at all when that is 0. */
  set(key: string, value: Value, ttl: number): void {
    this.#entries.delete(key);
    if (ttl <= 0) return;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size < this.#limit) break;
      this.#entries.delete(oldest);
    }
    this.#entries.set(key, { value, expires: this.#now() + ttl * 1000 });
  }

  clear(): void {
    this.#entries.clear();
  }
}
