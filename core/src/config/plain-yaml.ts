/**
 * Documents in the part of YAML that configurations are written in: mappings and lists, indented or in brackets on one
 * line, of words, numbers and quoted texts. Read ten times faster than by the parser of all of YAML, which takes seconds
 * for a hundred thousand services. Whatever is not certain to mean the same there is left to it, and so is every fault.
 */

/** Thrown where a text goes beyond. One for all, since nobody looks at its stack. */
const BEYOND = new Error('beyond plain YAML');

/** No configuration is as deep as this. */
const DEPTH = 16;

/** Letters of one kind of document only: printable ASCII and line feeds. */
const LETTERS = /^[\n\x20-\x7e]*$/;

/** A key without quotes, and what is behind its colon. */
const PAIR = /^([A-Za-z][A-Za-z0-9._-]{0,100}):(?: +(.*))?$/;
/** The same at the beginning of a list's item. */
const BEGINS_PAIR = /^[A-Za-z][A-Za-z0-9._-]{0,100}:(?: |$)/;
const KEY = /[A-Za-z][A-Za-z0-9._-]{0,100}/y;

/** A text without quotes: nothing in it ends it, begins a comment or is a colon before a space. */
const PLAIN = /[A-Za-z0-9_./][A-Za-z0-9_./@+=-]*(?::+[A-Za-z0-9_./@+=-]+)*/y;
/** Quoted, with nothing that stands for something else. */
const QUOTED = /"([^"\\]*)"|'([^']*)'(?!')/y;
const SPACES = / */y;
const REST = /(?: +#.*)?$/y;

const INTEGER = /^(?:0|[1-9][0-9]{0,14}|0x[0-9a-f]{1,8})$/;
/** What the core schema of YAML 1.2 takes for a number, truth value or nothing (chapter 10.3). */
const OTHER_THAN_TEXT =
  /^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?\.inf|\.nan|true|false|null)$/i;

interface Line {
  readonly indent: number;
  /** Without indentation, and without spaces at its end. */
  readonly text: string;
}

/** @returns the value of a text that is plain YAML with a mapping outside; `undefined` for anything else. */
export function parsePlainYaml(text: string): Readonly<Record<string, unknown>> | undefined {
  if (!LETTERS.test(text)) return undefined;
  try {
    return new Blocks(text).document();
  } catch (error) {
    if (error === BEYOND) return undefined;
    throw error;
  }
}

function beyond(): never {
  throw BEYOND;
}

function isItem({ text }: Line): boolean {
  return text.startsWith('- ') || text === '-';
}

/** What is indented. */
class Blocks {
  readonly #lines: Line[] = [];
  #at = 0;

  constructor(text: string) {
    for (const line of text.split('\n')) {
      const bare = line.trim();
      if (bare === '' || bare.startsWith('#')) continue;
      this.#lines.push({ indent: line.length - line.trimStart().length, text: bare });
    }
  }

  document(): Readonly<Record<string, unknown>> {
    if (this.#line?.indent !== 0) return beyond();
    const value = this.#mapping(0, 0);
    return this.#line === undefined ? value : beyond();
  }

  get #line(): Line | undefined {
    return this.#lines[this.#at];
  }

  #mapping(indent: number, depth: number): Record<string, unknown> {
    if (depth > DEPTH) beyond();
    const mapping: Record<string, unknown> = {};
    for (let line = this.#line; line?.indent === indent && !isItem(line); line = this.#line) {
      const [, key, inline] = PAIR.exec(line.text) ?? beyond();
      if (key === undefined || OTHER_THAN_TEXT.test(key) || Object.hasOwn(mapping, key)) return beyond();
      this.#at++;
      mapping[key] = inline === undefined || inline.startsWith('#') ? this.#below(indent, depth) : inlineValue(inline);
      this.#endOfBlock(indent);
    }
    return mapping;
  }

  /** What stands on the lines below a key. */
  #below(indent: number, depth: number): unknown {
    const line = this.#line;
    if (line === undefined || line.indent < indent) return null;
    if (isItem(line)) return this.#list(line.indent, depth + 1);
    return line.indent > indent ? this.#mapping(line.indent, depth + 1) : null;
  }

  #list(indent: number, depth: number): unknown[] {
    if (depth > DEPTH) beyond();
    const list: unknown[] = [];
    for (let line = this.#line; line?.indent === indent && isItem(line); line = this.#line) {
      const text = line.text.slice(1).trimStart();
      const inner = indent + line.text.length - text.length;
      if (text === '' || text.startsWith('#') || text.startsWith('- ') || text === '-') beyond();
      if (BEGINS_PAIR.test(text)) {
        this.#lines[this.#at] = { indent: inner, text };
        list.push(this.#mapping(inner, depth + 1));
      } else {
        this.#at++;
        list.push(inlineValue(text));
      }
      this.#endOfBlock(indent);
    }
    return list;
  }

  /** What is indented further now would belong to a value that has ended. */
  #endOfBlock(indent: number): void {
    if ((this.#line?.indent ?? 0) > indent) beyond();
  }
}

function inlineValue(text: string): unknown {
  return new Inline(text).whole();
}

function scalar(text: string): unknown {
  if (INTEGER.test(text)) return Number(text);
  if (!OTHER_THAN_TEXT.test(text)) return text;
  if (text === 'true') return true;
  if (text === 'false') return false;
  return text === 'null' ? null : beyond();
}

/** What stands on one line. */
class Inline {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): unknown {
    const value = this.#value(0);
    this.#take(REST);
    return value;
  }

  #take(pattern: RegExp): RegExpExecArray {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text) ?? beyond();
    this.#at = pattern.lastIndex;
    return match;
  }

  /** The next character that is no space; it is not taken. */
  #next(): string {
    this.#take(SPACES);
    return this.#text[this.#at] ?? beyond();
  }

  #value(depth: number): unknown {
    if (depth > DEPTH) beyond();
    const next = this.#next();
    if (next === '[') return this.#list(depth);
    if (next === '{') return this.#mapping(depth);
    if (next === '"' || next === "'") return this.#quoted();
    return scalar(this.#take(PLAIN)[0]);
  }

  #quoted(): string {
    const [, double, single] = this.#take(QUOTED);
    return double ?? single ?? beyond();
  }

  #list(depth: number): unknown[] {
    const list: unknown[] = [];
    this.#at++;
    while (this.#next() !== ']') {
      list.push(this.#value(depth + 1));
      if (this.#next() === ',') this.#at++;
      else if (this.#next() !== ']') beyond();
    }
    this.#at++;
    return list;
  }

  #mapping(depth: number): Record<string, unknown> {
    const mapping: Record<string, unknown> = {};
    this.#at++;
    while (this.#next() !== '}') {
      const key = this.#take(KEY)[0];
      if (OTHER_THAN_TEXT.test(key) || Object.hasOwn(mapping, key)) beyond();
      if (!this.#text.startsWith(': ', this.#at)) beyond();
      this.#at += 2;
      mapping[key] = this.#value(depth + 1);
      if (this.#next() === ',') this.#at++;
      else if (this.#next() !== '}') beyond();
    }
    this.#at++;
    return mapping;
  }
}
