/** From a path of keys to a line and a column of the source, and back to text for people. */
import {
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  isSeq,
  type Document,
  type LineCounter,
  type Node,
} from 'yaml';
import type { ConfigurationFault } from '../api/errors.ts';
import type { Finding } from './issues.ts';
import { printable } from './scalars.ts';

/** Keys whose values are never printed, wherever they stand. */
const SECRET_KEY = /^(?:.*[-_])?(?:password|passphrase|passwd|secret|token|private-key|api-key)$/i;

export function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key);
}

/** A source line is shown up to here; what is longer is no line that a person wrote. */
const MAX_SOURCE = 160;

/** A YAML source with its parsed document. */
export class Source {
  readonly file: string;
  readonly #text: string;
  readonly #document: Document;
  readonly #lines: LineCounter;
  /** Offsets of secrets, in order. */
  readonly #secrets: ReadonlyArray<readonly [number, number]>;

  constructor(file: string, text: string, document: Document, lines: LineCounter) {
    this.file = file;
    this.#text = text;
    this.#document = document;
    this.#lines = lines;
    this.#secrets = secretSpans(document.contents);
  }

  /** Places a finding at its node, or at the nearest enclosing one where the node does not exist. */
  place(finding: Finding): ConfigurationFault {
    return this.at(this.#offsetOf(finding), finding);
  }

  /** Places a finding at an offset of the text. */
  at(offset: number, finding: Finding): ConfigurationFault {
    const { line, col } = this.#lines.linePos(Math.min(offset, this.#text.length));
    const from = this.#lines.lineStarts[line - 1] ?? 0;
    const until = this.#lines.lineStarts[line] ?? this.#text.length;
    return {
      file: this.file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      path: finding.path.map(String).join('.'),
      problem: printable(finding.problem),
      allowed: printable(finding.allowed),
      // A caret far to the right of what is shown would point at nothing.
      ...(col > MAX_SOURCE ? {} : { source: printable(this.#masked(from, until)).slice(0, MAX_SOURCE) }),
    };
  }

  #offsetOf(finding: Finding): number {
    let node: unknown = this.#document.contents;
    let offset = startOf(node) ?? 0;
    for (const [i, key] of finding.path.entries()) {
      if (isAlias(node)) node = node.resolve(this.#document);
      if (isMap(node)) {
        const pair = node.items.find((item) => keyText(item.key) === String(key));
        if (pair === undefined) return offset;
        const atKey = finding.atKey === true && i === finding.path.length - 1;
        const start = (atKey ? undefined : startOf(pair.value)) ?? startOf(pair.key);
        offset = start ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        const item: unknown = node.items[Number(key)];
        offset = startOf(item) ?? offset;
        node = item;
      } else {
        return offset;
      }
    }
    return offset;
  }

  #masked(from: number, until: number): string {
    const line = this.#text.slice(from, until);
    if (this.#document.errors.length > 0) {
      // The tree cannot be trusted: hide everything behind a key that looks like a secret's.
      return line.replace(
        /((?:passw|passphrase|secret|token|key)[\w-]*["']?\s*:\s*)(\S.*)$/im,
        (_, key, rest: string) => (rest.startsWith('{') ? `${key}{…` : `${key}********`),
      );
    }
    let out = '';
    for (let i = 0; i < line.length; i++) {
      const offset = from + i;
      const hidden = this.#secrets.some(([a, b]) => offset >= a && offset < b);
      out += hidden && line[i] !== '\n' ? '*' : line[i];
    }
    return out;
  }
}

export function keyText(key: unknown): string {
  return isScalar(key) ? String(key.value) : String(key);
}

function startOf(node: unknown): number | undefined {
  if (isPair(node)) return startOf(node.key);
  const range = (node as Node | null | undefined)?.range;
  return range?.[0];
}

function secretSpans(root: unknown): ReadonlyArray<readonly [number, number]> {
  const spans: Array<readonly [number, number]> = [];
  const queue: unknown[] = [root];
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    if (!isCollection(node)) continue;
    for (const item of node.items) {
      if (!isPair(item)) {
        queue.push(item);
        continue;
      }
      if (isScalar(item.value) && isSecretKey(keyText(item.key)) && item.value.range) {
        spans.push([item.value.range[0], item.value.range[1]]);
      }
      queue.push(item.value);
    }
  }
  return spans;
}
