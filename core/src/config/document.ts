/** YAML text to plain values, with everything that YAML itself has against it. */
import { isAlias, LineCounter, parseDocument, visit, type Document, type YAMLError } from 'yaml';
import type { ConfigurationFault } from '../api/errors.ts';
import { Source } from './place.ts';

/** A configuration of 10,000 prefixes is under 1 MiB. */
export const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024;

export interface ParsedDocument {
  readonly source: Source;
  /** Absent when the text is no YAML at all; then `faults` says why. */
  readonly root?: unknown;
  readonly faults: readonly ConfigurationFault[];
}

const HINTS: Readonly<Record<string, readonly [problem: string, allowed: string]>> = {
  DUPLICATE_KEY: ['this key is there twice', 'each key once'],
  TAB_AS_INDENT: ['a tab indents this line', 'spaces'],
  MULTIPLE_DOCS: ['a second document begins here', 'one document, without ---'],
  RESOURCE_EXHAUSTION: ['the nesting is too deep', 'at most a few levels'],
  BLOCK_AS_IMPLICIT_KEY: ['a mapping begins on the line of a key', 'text with a colon in quotes: "2001:db8::"'],
  BAD_SCALAR_START: ['a value cannot begin with this character', 'the text in quotes'],
  NON_STRING_KEY: ['this key is no text', 'a word'],
  TAG_RESOLVE_FAILED: ['a YAML tag stands here', 'a value without "!"'],
};

function yamlFault(source: Source, error: YAMLError): ConfigurationFault {
  const hint = Object.hasOwn(HINTS, error.code) ? HINTS[error.code] : undefined;
  const [problem, allowed] = hint ?? [
    `not YAML: ${(error.message.split('\n')[0] as string).slice(0, 200)}`,
    'YAML 1.2, as in docs/configuration.md',
  ];
  return source.at(error.pos[0], { path: [], problem, allowed });
}

/** Aliases of nothing (mostly names that begin with "*" and lack quotes), and aliases of what they stand in. */
function aliasFaults(document: Document, source: Source): readonly ConfigurationFault[] {
  const faults: ConfigurationFault[] = [];
  visit(document, {
    Alias(_, node, ancestors) {
      const target = node.resolve(document);
      const at = node.range?.[0] ?? 0;
      if (target === undefined) {
        const text = `*${node.source}`;
        faults.push(
          source.at(at, {
            path: [],
            problem: `${text} without quotes is a YAML alias of nothing`,
            allowed: `"${text}"`,
          }),
        );
      } else if (ancestors.some((ancestor) => ancestor === target) || isAlias(target)) {
        faults.push(source.at(at, { path: [], problem: 'this alias stands in what it names', allowed: 'a value' }));
      }
    },
  });
  return faults;
}

/** @param file how the text is called in faults */
export function parseYaml(text: string, file: string): ParsedDocument {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
    version: '1.2',
    logLevel: 'error',
  });
  const source = new Source(file, text, document, lines);
  const problems = [...document.errors, ...document.warnings].slice(0, 50);
  const faults = problems.map((error) => yamlFault(source, error));
  // With two equal keys the tree is still what the author wrote; after any other error it is a guess.
  if (document.errors.some((error) => error.code !== 'DUPLICATE_KEY')) return { source, faults };
  const aliases = aliasFaults(document, source);
  if (aliases.length > 0) return { source, faults: [...faults, ...aliases] };
  try {
    return { source, root: document.toJS({ maxAliasCount: 1000 }), faults };
  } catch (error) {
    // yaml refuses documents whose aliases multiply.
    const problem = `not usable: ${(error as Error).message}`;
    return { source, faults: [...faults, source.at(0, { path: [], problem, allowed: 'fewer aliases' })] };
  }
}
