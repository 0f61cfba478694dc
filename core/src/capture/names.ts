/** The names that services capture, with precedence resolved: patterns are to names what prefixes are to addresses. */
import type { CapturePorts } from '../api/capture.ts';
import { ChoiceTable } from './choices.ts';
import { type NumberedService, type Rule, serviceRules } from './rules.ts';
import { overlay, type Stretches, stretchesOf } from './stretches.ts';

/** The pattern that {@link NameTable.match} gives to names that no service captures. */
export const NO_PATTERN = -1;

export class NameTable {
  /** Exact names and `*.suffix`, by pattern index. */
  readonly patterns: readonly string[];
  /**
   * What holds for the names of each pattern: complete as rows are, so nothing less specific is ever asked. A pattern
   * that a reload removed keeps its index and has what the next less specific one gives, or nothing.
   */
  readonly rows: ReadonlyArray<readonly CapturePorts[]>;
  readonly #exact = new Map<string, number>();
  /** By what stands behind `*.`. */
  readonly #suffixes = new Map<string, number>();

  /** Made by {@link compileNames}. `live`: which patterns some service still has. */
  constructor(
    patterns: readonly string[],
    rows: ReadonlyArray<readonly CapturePorts[]>,
    live: (pattern: string) => boolean,
  ) {
    this.patterns = patterns;
    this.rows = rows;
    for (const [index, pattern] of patterns.entries()) {
      if (!live(pattern)) continue;
      const suffix = suffixOf(pattern);
      if (suffix === undefined) this.#exact.set(pattern, index);
      else this.#suffixes.set(suffix, index);
    }
  }

  /**
   * The index of the most specific pattern for a name: itself, or else the longest suffix below which it has at least
   * one label; `NO_PATTERN` when there is none. Letter case and a trailing dot do not matter.
   */
  match(name: string): number {
    const asked = name.endsWith('.') ? name.slice(0, -1) : name;
    const canonical = asked.toLowerCase();
    return this.#exact.get(canonical) ?? this.#longestSuffix(canonical);
  }

  #longestSuffix(name: string): number {
    if (this.#suffixes.size === 0) return NO_PATTERN;
    // From 1: the label before the dot must not be empty.
    for (let dot = name.indexOf('.', 1); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const index = this.#suffixes.get(name.slice(dot + 1));
      if (index !== undefined) return index;
    }
    return NO_PATTERN;
  }
}

/**
 * The table of all names of the services, which come in the order of the configuration. An exact name beats a suffix
 * and a longer suffix a shorter one; on one pattern the precedence is that of one prefix.
 *
 * With `previous`, patterns keep the indexes they had, and new ones come behind: an index that is kept beside an
 * assigned address stays right over a reload. It may become less specific than `match` is by then.
 */
export function compileNames(services: readonly NumberedService[], previous?: NameTable): NameTable {
  const choices = new ChoiceTable();
  const rulesOf = new Map<string, Rule[]>();
  for (const [order, numbered] of services.entries()) {
    if (numbered.service.names.length === 0) continue;
    const rules = serviceRules(numbered, order);
    for (const pattern of new Set(numbered.service.names)) {
      const known = rulesOf.get(pattern);
      if (known) known.push(...rules);
      else rulesOf.set(pattern, [...rules]);
    }
  }
  const patterns = [...new Set([...(previous?.patterns ?? []), ...rulesOf.keys()])];
  const done = new Map<string, Stretches>();
  // Least specific first, so that what a pattern inherits from is complete before it.
  for (const pattern of patterns.toSorted((a, b) => specificity(a) - specificity(b))) {
    const own = stretchesOf(rulesOf.get(pattern) ?? [], choices);
    done.set(pattern, overlay(own, inherited(pattern, done), choices));
  }
  return new NameTable(
    patterns,
    patterns.map((pattern) => done.get(pattern) as Stretches),
    (pattern) => rulesOf.has(pattern),
  );
}

function inherited(pattern: string, done: ReadonlyMap<string, Stretches>): Stretches {
  const name = suffixOf(pattern) ?? pattern;
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
    const stretches = done.get(`*${name.slice(dot)}`);
    if (stretches) return stretches;
  }
  return [];
}

/** Suffixes by their number of labels, then all exact names. */
function specificity(pattern: string): number {
  const suffix = suffixOf(pattern);
  return suffix === undefined ? Infinity : suffix.split('.').length;
}

function suffixOf(pattern: string): string | undefined {
  return pattern.startsWith('*.') ? pattern.slice(2) : undefined;
}
