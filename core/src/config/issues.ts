/** What zod found, in words: where, what is wrong, and what is allowed. */
import type { core } from 'zod';
import { quote } from './scalars.ts';
import { didYouMean } from './suggest.ts';

/** A fault before it has a line and a column. */
export interface Finding {
  readonly path: readonly PropertyKey[];
  /** The fault is the key at the end of `path`, not its value. */
  readonly atKey?: boolean;
  readonly problem: string;
  readonly allowed: string;
}

/** A value's type in the words of YAML. */
export function describe(value: unknown): string {
  if (value === null) return 'nothing';
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'boolean') return `the truth value ${value}`;
  if (typeof value === 'string') return `the text ${quote(value)}`;
  return `the number ${quote(value)}`;
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  array: 'a list',
  object: 'a mapping (key: value)',
  record: 'a mapping (key: value)',
  boolean: 'true or false',
};

const typeName = (expected: string): string =>
  Object.hasOwn(TYPES, expected) ? (TYPES[expected] as string) : expected;

export function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

type Issue = core.$ZodIssue;

function wrongType(path: readonly PropertyKey[], value: unknown, allowed: string): Finding {
  const last = path.at(-1);
  const subject = last === undefined ? 'the document' : `"${String(last)}"`;
  if (value === undefined) return { path, problem: `${subject} is missing`, allowed };
  if (value === null) return { path, problem: `${subject} is empty`, allowed };
  if (typeof value === 'object' && !Array.isArray(value) && Object.values(value).some((inner) => inner === null)) {
    // `2001:db8::` without quotes is a mapping to YAML.
    return { path, problem: 'a mapping stands here; text with a colon at its end needs quotes', allowed };
  }
  return { path, problem: `${describe(value)} stands here`, allowed };
}

type KeysAt = (path: readonly PropertyKey[]) => readonly string[];

function unionFindings(
  issue: Extract<Issue, { code: 'invalid_union' }>,
  root: unknown,
  base: readonly PropertyKey[],
  keysAt: KeysAt,
): readonly Finding[] {
  const path = [...base, ...issue.path];
  const value = valueAt(root, path);
  const allowed = new Set(issue.errors.flatMap((errors) => errors.filter((e) => e.path.length === 0)).map(allowedOf));
  allowed.delete('a list');
  // The alternative that the author meant is the one whose type fits; its own faults are then the ones to tell.
  const meant = issue.errors.filter((errors) => !errors.some((e) => isTypeMismatch(e) && e.path.length === 0));
  if (meant.length > 0) {
    // Of several that fit, the one that got deepest.
    const depth = (errors: readonly Issue[]) => Math.max(...errors.map((e) => e.path.length));
    const best = meant.reduce((a, b) => (depth(b) > depth(a) ? b : a));
    const found = best.flatMap((inner) => findings(inner, root, path, keysAt));
    const [only] = found;
    if (best.length > 1 || only === undefined || best[0]?.code !== 'invalid_value' || allowed.size < 2) return found;
    // A word that is none of the words here; the other alternatives are worth a mention.
    return [{ ...only, allowed: [...allowed].join(', or ') }];
  }
  return [wrongType(path, value, [...allowed].join(', or '))];
}

/** True where the value is of another kind altogether, so that the author cannot have meant this alternative. */
function isTypeMismatch(issue: Issue): boolean {
  if (issue.code === 'invalid_type') return true;
  return issue.code === 'invalid_union' && issue.errors.every((errors) => errors.some((e) => isTypeMismatch(e)));
}

function allowedOf(issue: Issue): string {
  const own = issue.message.split('\n')[1];
  if (own !== undefined) return own;
  if (issue.code === 'invalid_type') return typeName(issue.expected);
  if (issue.code === 'invalid_value') return issue.values.map(String).join(', ');
  if (issue.code === 'invalid_union') {
    return [...new Set(issue.errors.flatMap((errors) => errors.map((e) => allowedOf(e))))].join(', or ');
  }
  return issue.message;
}

/**
 * All findings behind one issue.
 * @param keysAt the keys that a strict object at that path knows, for "did you mean"
 */
export function findings(
  issue: Issue,
  root: unknown,
  base: readonly PropertyKey[] = [],
  keysAt: KeysAt = () => [],
): readonly Finding[] {
  const path = [...base, ...issue.path];
  const value = valueAt(root, path);
  const [problem = '', own] = issue.message.split('\n');
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = keysAt(path);
      return issue.keys.map((key) => ({
        path: [...path, key],
        atKey: true,
        problem: `unknown key ${quote(key)}${didYouMean(key, known)}`,
        allowed: known.join(', '),
      }));
    }
    case 'invalid_union':
      if (own !== undefined) return [wrongType(path, value, own)];
      return unionFindings(issue, root, base, keysAt);
    case 'invalid_type':
      return [wrongType(path, value, allowedOf(issue))];
    case 'invalid_value': {
      const words = issue.values.map(String);
      const allowed = words.length > 1 ? `one of ${words.join(', ')}` : words.join('');
      if (typeof value !== 'string') return [wrongType(path, value, allowed)];
      return [{ path, problem: `${quote(value)} is not known here${didYouMean(value, words)}`, allowed }];
    }
    case 'too_small':
    case 'too_big': {
      const bound = issue.code === 'too_small' ? issue.minimum : issue.maximum;
      const allowed = issue.code === 'too_small' ? `at least ${bound}` : `at most ${bound}`;
      if (own !== undefined) return [{ path, problem, allowed: own }];
      return [{ path, problem: `${quote(value)} is out of range`, allowed }];
    }
    case 'custom':
    case 'invalid_format':
    case 'invalid_element':
    case 'invalid_key':
    case 'not_multiple_of':
      return [
        { path, problem: own === undefined ? issue.message : problem, allowed: own ?? 'a value of another form' },
      ];
  }
}
