/**
 * The names that services capture, with precedence resolved: patterns are to names what prefixes are to addresses.
 *
 * What a name is worth depends on all patterns that have it. Exact names and suffixes form a tree, so that the most
 * specific of them stands for all; other patterns can meet in any combination. A combination that was not foreseen gets
 * its row when a name first shows it, so that `rows` can grow after compilation.
 */
import type { CapturePorts } from '../api/capture.ts';
import { ChoiceTable } from './choices.ts';
import { compareSpecificity, namePattern, type NamePattern } from './name-pattern.ts';
import { type NumberedService, type Rule, serviceRules } from './rules.ts';
import { overlay, type Stretches, stretchesOf } from './stretches.ts';

/** The pattern that {@link NameTable.match} gives to names that no service captures. */
export const NO_PATTERN = -1;

/** Rows at most that combinations of patterns get beyond those that were foreseen. */
const MAX_COMBINATIONS = 4096;

/** A pattern and the services that use it. */
interface UsedPattern {
  readonly pattern: NamePattern;
  readonly users: Array<{ readonly service: number; readonly excluded: boolean }>;
}

/** The patterns that have a name: the most specific one of the tree, and the others. */
interface Combination {
  /** Empty: none. */
  readonly base: string;
  readonly globs: readonly string[];
}

const keyOf = ({ base, globs }: Combination): string => [base, ...globs].join(' ');

export class NameTable {
  /** By index: the most specific pattern by which a service wants the index's names. */
  readonly patterns: readonly string[];
  /**
   * By index: what holds for these names, complete as rows are, so that nothing less specific is ever asked. An index
   * whose patterns a reload removed keeps its place and has what is left of them, or nothing. Grows; see file comment.
   */
  readonly rows: ReadonlyArray<readonly CapturePorts[]>;
  readonly #patterns: string[] = [];
  readonly #rows: Stretches[] = [];
  /** By index: whether any service wants the names. */
  readonly #wanted: boolean[] = [];
  readonly #combinations: Combination[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #used: ReadonlyMap<string, UsedPattern>;
  /** Globs by the literal labels at their end. */
  readonly #globs = new Map<string, NamePattern[]>();
  readonly #rules: ReadonlyArray<readonly Rule[]>;
  readonly #choices = new ChoiceTable();
  /** By the services in order of precedence, so that names of one service share one row. */
  readonly #bySignature = new Map<string, Stretches>();
  /** How many combinations there were after compilation; until then there is no bound. */
  #foreseen = Infinity;

  /** See {@link compileNames}. */
  constructor(services: readonly NumberedService[], previous?: NameTable) {
    this.patterns = this.#patterns;
    this.rows = this.#rows;
    this.#rules = services.map((numbered, order) => serviceRules(numbered, order));
    this.#used = usedPatterns(services);
    for (const { pattern } of this.#used.values()) {
      if (pattern.kind !== 'glob') continue;
      const group = this.#globs.get(pattern.tail);
      if (group) group.push(pattern);
      else this.#globs.set(pattern.tail, [pattern]);
    }
    for (const [index, combination] of (previous?.combinations ?? []).entries()) {
      this.#add(combination, previous?.patterns[index] as string);
    }
    for (const { pattern } of this.#used.values()) {
      if (pattern.kind === 'exact') this.#indexOf({ base: pattern.text, globs: this.#globsOf(pattern.text) });
      else if (pattern.kind === 'suffix') this.#indexOf({ base: pattern.text, globs: [] });
      else this.#indexOf({ base: this.#baseOf(`*.${pattern.tail}`), globs: [pattern.text] });
    }
    this.#foreseen = this.#combinations.length;
  }

  /** For the next table. */
  get combinations(): readonly Combination[] {
    return this.#combinations;
  }

  /**
   * The index of a name; `NO_PATTERN` when no service captures it. Letter case and a trailing dot do not matter.
   * @throws RangeError when the patterns meet in more combinations than there is room for.
   */
  match(name: string): number {
    const asked = name.endsWith('.') ? name.slice(0, -1) : name;
    const canonical = asked.toLowerCase();
    const base = this.#baseOf(canonical);
    const globs = this.#globsOf(canonical);
    if (base === '' && globs.length === 0) return NO_PATTERN;
    const index = this.#indexOf({ base, globs });
    return this.#wanted[index] === true ? index : NO_PATTERN;
  }

  /** The most specific exact name or suffix. */
  #baseOf(name: string): string {
    if (this.#used.has(name)) return name;
    // From 1: the label before the dot must not be empty.
    for (let dot = name.indexOf('.', 1); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const suffix = `*${name.slice(dot)}`;
      if (this.#used.has(suffix)) return suffix;
    }
    return '';
  }

  #globsOf(name: string): readonly string[] {
    if (this.#globs.size === 0) return [];
    const found: string[] = [];
    const look = (tail: string): void => {
      for (const glob of this.#globs.get(tail) ?? []) if (glob.matches(name)) found.push(glob.text);
    };
    look('');
    for (let dot = name.indexOf('.', 1); dot >= 0; dot = name.indexOf('.', dot + 1)) look(name.slice(dot + 1));
    return found.toSorted();
  }

  #indexOf(combination: Combination): number {
    const known = this.#indexes.get(keyOf(combination));
    if (known !== undefined) return known;
    if (this.#combinations.length - this.#foreseen >= MAX_COMBINATIONS) {
      throw new RangeError(`patterns of names meet in more than ${MAX_COMBINATIONS} combinations`);
    }
    return this.#add(combination);
  }

  /** @param before what `patterns` said of it, in case that no service wants it any more. */
  #add(combination: Combination, before = combination.base): number {
    const index = this.#combinations.push(combination) - 1;
    this.#indexes.set(keyOf(combination), index);
    const wanted = this.#wantedBy(combination);
    const [best] = [...wanted.values()].toSorted(compareSpecificity);
    this.#patterns.push(best?.text ?? before);
    this.#wanted.push(wanted.size > 0);
    this.#rows.push(this.#rowOf(wanted));
    return index;
  }

  /** The patterns of a combination that are still in use: the globs, the base, and the suffixes around it. */
  #members({ base, globs }: Combination): readonly UsedPattern[] {
    const texts = [...globs];
    if (base !== '') {
      texts.push(base);
      const name = base.startsWith('*.') ? base.slice(2) : base;
      for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) texts.push(`*${name.slice(dot)}`);
    }
    return texts.flatMap((text) => this.#used.get(text) ?? []);
  }

  /** For each service that wants the names, the most specific of its patterns. */
  #wantedBy(combination: Combination): ReadonlyMap<number, NamePattern> {
    const best = new Map<number, { readonly pattern: NamePattern; readonly excluded: boolean }>();
    for (const { pattern, users } of this.#members(combination)) {
      for (const { service, excluded } of users) {
        const other = best.get(service);
        const order = other === undefined ? -1 : compareSpecificity(pattern, other.pattern);
        if (order < 0 || (order === 0 && excluded)) best.set(service, { pattern, excluded });
      }
    }
    return new Map([...best].flatMap(([service, { pattern, excluded }]) => (excluded ? [] : [[service, pattern]])));
  }

  #rowOf(wantedBy: ReadonlyMap<number, NamePattern>): Stretches {
    const wanted = [...wantedBy].toSorted(([a, one], [b, other]) => compareSpecificity(one, other) || a - b);
    // Services whose patterns say the same of these names stand beside each other, as on one prefix.
    const groups: Array<{ readonly pattern: NamePattern; readonly services: number[] }> = [];
    for (const [service, pattern] of wanted) {
      const last = groups.at(-1);
      if (last && compareSpecificity(last.pattern, pattern) === 0) last.services.push(service);
      else groups.push({ pattern, services: [service] });
    }
    const signature = groups.map(({ services }) => services.join()).join(';');
    const known = this.#bySignature.get(signature);
    if (known) return known;
    let row: Stretches = [];
    for (const { services } of groups.toReversed()) {
      const own = stretchesOf(
        services.flatMap((service) => this.#rules[service] ?? []),
        this.#choices,
      );
      row = overlay(own, row, this.#choices);
    }
    this.#bySignature.set(signature, row);
    return row;
  }
}

function usedPatterns(services: readonly NumberedService[]): ReadonlyMap<string, UsedPattern> {
  const used = new Map<string, UsedPattern>();
  for (const [service, { service: one }] of services.entries()) {
    for (const written of new Set(one.names)) {
      const excluded = written.startsWith('!');
      const text = excluded ? written.slice(1) : written;
      let known = used.get(text);
      if (!known) used.set(text, (known = { pattern: namePattern(text), users: [] }));
      known.users.push({ service, excluded });
    }
  }
  return used;
}

/**
 * The table of all names of the services, which come in the order of the configuration. Of the patterns of one service
 * that have a name the most specific decides whether the service wants it; among services the one whose pattern says
 * more of the name wins, and where patterns say the same the precedence is that of one prefix.
 *
 * With `previous`, names keep the indexes they had, and new ones come behind: an index that is kept beside an assigned
 * address stays right over a reload. It may become less specific than `match` is by then.
 */
export function compileNames(services: readonly NumberedService[], previous?: NameTable): NameTable {
  return new NameTable(services, previous);
}
