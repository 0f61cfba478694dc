/** Lists of choices, each kept once, so that "the same choices" is "the same array" everywhere after compilation. */
import type { CaptureChoice } from '../api/capture.ts';
import type { Prefix } from '../api/flow.ts';
import { maskOf } from './address.ts';
import { codeOf } from './verdict.ts';

export type Choices = readonly CaptureChoice[];

/** True when some choice takes every source, so that nothing less specific is ever asked. */
export function isClosed(choices: Choices): boolean {
  return choices.at(-1)?.sources.length === 0;
}

export class ChoiceTable {
  readonly #byKey = new Map<string, Choices>();
  #before: ReadonlyMap<string, Choices> | undefined;
  readonly #ids = new Map<Choices, number>();
  readonly #joined = new Map<string, Choices>();

  /** @param before the table of the compilation before: lists of equal choices are its arrays, until {@link close}. */
  constructor(before?: ChoiceTable) {
    this.#before = before === undefined ? undefined : before.#byKey;
  }

  /** Nothing is joined any more. Lets go of what the next compilation will not ask for. */
  close(): void {
    this.#before = undefined;
    this.#ids.clear();
    this.#joined.clear();
  }

  /**
   * The one list that means what `candidates`, in order of precedence, mean: without what can never be reached, and
   * with neighbours of one verdict made one.
   */
  of(candidates: Choices): Choices {
    const simple = simplify(candidates);
    const key = simple.map((choice) => `${codeOf(choice.verdict)}@${choice.sources.map(keyOf).join()}`).join(';');
    const known = this.#byKey.get(key);
    if (known) return known;
    const choices = this.#before?.get(key) ?? simple;
    this.#byKey.set(key, choices);
    this.#ids.set(choices, this.#ids.size);
    return choices;
  }

  /** What holds where `own` leaves some sources to the less specific `inherited`. Both come from this table. */
  join(own: Choices, inherited: Choices): Choices {
    if (isClosed(own)) return own;
    const key = `${this.#ids.get(own)} ${this.#ids.get(inherited)}`;
    const known = this.#joined.get(key);
    if (known) return known;
    const joined = this.of([...own, ...inherited]);
    this.#joined.set(key, joined);
    return joined;
  }
}

function keyOf(prefix: Prefix): string {
  return `${prefix.family}/${prefix.length}/${prefix.address}`;
}

function simplify(candidates: Choices): Choices {
  const first = candidates[0];
  // Candidates may be rules; only what a choice says goes into the set.
  if (first?.sources.length === 0) return [{ sources: [], verdict: first.verdict }];
  const seen = new SeenPrefixes();
  const choices: CaptureChoice[] = [];
  for (const candidate of candidates) {
    const closes = candidate.sources.length === 0;
    const sources = candidate.sources.filter((source) => seen.addUnlessCovered(source));
    if (!closes && sources.length === 0) continue;
    const last = choices.at(-1);
    if (last && codeOf(last.verdict) === codeOf(candidate.verdict)) {
      choices[choices.length - 1] = { sources: closes ? [] : [...last.sources, ...sources], verdict: last.verdict };
    } else {
      choices.push({ sources, verdict: candidate.verdict });
    }
    if (closes) break;
  }
  return choices;
}

class SeenPrefixes {
  /** Addresses by family and length. */
  readonly #seen = new Map<string, { readonly prefix: Prefix; readonly addresses: Set<bigint> }>();

  addUnlessCovered(prefix: Prefix): boolean {
    const { family, length, address } = prefix;
    for (const { prefix: like, addresses } of this.#seen.values()) {
      if (like.family !== family || like.length > length) continue;
      if (addresses.has(address & maskOf(family, like.length))) return false;
    }
    const key = `${family}/${length}`;
    const same = this.#seen.get(key);
    if (same) same.addresses.add(address);
    else this.#seen.set(key, { prefix, addresses: new Set([address]) });
    return true;
  }
}
