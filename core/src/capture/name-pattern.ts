/**
 * Patterns for names, as they stand in a service: `web.internal`, `*.apps.internal`, `api-*.internal`. A label `*` stands
 * for one label, at the beginning for one or more; inside of a label `*` stands for any characters and `?` for one.
 */

/** How much a label of a pattern says, from the right. Compared one by one; the first that differs decides. */
type LabelRank = number;

const ANY_LABELS: LabelRank = 0;
const ONE_LABEL: LabelRank = 1;
/** Plus the number of its characters that are no wildcard; a label has at most 63. */
const PART_OF_LABEL: LabelRank = 2;
const WHOLE_LABEL: LabelRank = 100;

export interface NamePattern {
  /** Without a leading `!`. */
  readonly text: string;
  /** `exact`: one name. `suffix`: `*.` and a name. `glob`: any other. */
  readonly kind: 'exact' | 'suffix' | 'glob';
  /** The literal labels at its end, joined; empty when the last one is no literal. For `suffix` and `exact` all of them. */
  readonly tail: string;
  /** From the last label to the first. */
  readonly ranks: readonly LabelRank[];
  /** `name` is lower case, without trailing dot. */
  matches(name: string): boolean;
}

function rankOf(label: string, isFirst: boolean): LabelRank {
  if (label === '*') return isFirst ? ANY_LABELS : ONE_LABEL;
  const said = label.replaceAll(/[*?]/g, '').length;
  return said === label.length ? WHOLE_LABEL : PART_OF_LABEL + said;
}

/**
 * Whether a label's pattern has a label. The last star takes more characters until the rest fits, which is enough and
 * never takes longer than one length times the other: what a client asks must not cost exponential time.
 */
function labelMatches(pattern: string, label: string): boolean {
  let p = 0;
  let star = -1;
  let resume = 0;
  for (let i = 0; i < label.length;) {
    const wanted = pattern[p];
    if (wanted === '*') {
      star = p++;
      resume = i;
    } else if (wanted === '?' || wanted === label[i]) {
      p++;
      i++;
    } else if (star >= 0) {
      p = star + 1;
      i = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

/** Compares from the end, so that a first label `*` takes what is left. */
function labelsMatch(pattern: readonly string[], name: string): boolean {
  const labels = name.split('.');
  const [first] = pattern;
  if (first === '*' ? labels.length < pattern.length : labels.length !== pattern.length) return false;
  const offset = labels.length - pattern.length;
  for (let i = pattern.length - 1; i >= 0; i--) {
    if (!labelMatches(pattern[i] as string, labels[i + offset] as string)) return false;
  }
  // An empty label is none.
  return !labels.includes('');
}

/** True for what stands in a service for one name, and neither for a pattern nor an exclusion. */
export function isExactName(written: string): boolean {
  return !/[*?!]/.test(written);
}

/** @param text lower case, without trailing dot and without `!`. */
export function namePattern(text: string): NamePattern {
  const labels = text.split('.');
  const ranks = labels.map((label, place) => rankOf(label, place === 0)).toReversed();
  const wild = labels.findLastIndex((label) => /[*?]/.test(label));
  const tail = labels.slice(wild + 1).join('.');
  if (wild < 0) return { text, kind: 'exact', tail, ranks, matches: (name) => name === text };
  if (wild === 0 && labels[0] === '*' && tail !== '') {
    const end = `.${tail}`;
    // Longer by one: the label before the dot must not be empty.
    return { text, kind: 'suffix', tail, ranks, matches: (name) => name.length > end.length && name.endsWith(end) };
  }
  return { text, kind: 'glob', tail, ranks, matches: (name) => labelsMatch(labels, name) };
}

/**
 * Which of two patterns that have one name in common says more of it: negative when `a` does, 0 when both say the same.
 */
export function compareSpecificity(a: NamePattern, b: NamePattern): number {
  const length = Math.min(a.ranks.length, b.ranks.length);
  for (let i = 0; i < length; i++) {
    const difference = (b.ranks[i] as number) - (a.ranks[i] as number);
    if (difference !== 0) return difference;
  }
  return b.ranks.length - a.ranks.length;
}
