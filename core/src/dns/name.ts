/**
 * Domain names on the wire (RFC 1035 3.1, 4.1.4) and as text.
 *
 * As text a name is lower case and has no trailing dot; the root is the empty string. A byte of a label that is not
 * printable ASCII is written `\DDD`, a dot or a backslash inside a label `\.` and `\\` (RFC 1035 5.1), so that two
 * different names never have the same text.
 */

/** Bytes of a name on the wire, the root's zero included (RFC 1035 2.3.4). */
export const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;

/** A name that was read, and where the bytes after it begin. */
export interface WireName {
  readonly name: string;
  readonly end: number;
}

function labelText(message: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let i = start; i < end; i++) {
    let byte = message[i] as number;
    if (byte >= 0x41 && byte <= 0x5a) byte += 0x20;
    if (byte === 0x2e || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`;
    else if (byte > 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\${String(byte).padStart(3, '0')}`;
  }
  return text;
}

/**
 * Reads the name at `offset`. A compression pointer must point before everything read so far, which ends every loop;
 * the first one also before `pointersBelow` (0 forbids pointers).
 * @returns undefined when the bytes are no name.
 */
export function readName(message: Uint8Array, offset: number, pointersBelow = offset): WireName | undefined {
  let name = '';
  let length = 1;
  let at = offset;
  let lowest = pointersBelow;
  let end = -1;
  for (;;) {
    const size = message[at];
    if (size === undefined) return undefined;
    if (size === 0) return { name, end: end < 0 ? at + 1 : end };
    if ((size & 0xc0) === 0xc0) {
      const low = message[at + 1];
      if (low === undefined) return undefined;
      if (end < 0) end = at + 2;
      at = ((size & 0x3f) << 8) | low;
      if (at >= lowest) return undefined;
      lowest = at;
      continue;
    }
    if ((size & 0xc0) !== 0) return undefined;
    const next = at + 1 + size;
    length += size + 1;
    if (length > MAX_NAME_BYTES || next > message.length) return undefined;
    name += name === '' ? labelText(message, at + 1, next) : `.${labelText(message, at + 1, next)}`;
    at = next;
  }
}

/** Where the name at `offset` ends, without reading it; undefined when it runs over the end of the message. */
export function skipName(message: Uint8Array, offset: number): number | undefined {
  let at = offset;
  for (;;) {
    const size = message[at];
    if (size === undefined) return undefined;
    if (size === 0) return at + 1;
    if ((size & 0xc0) === 0xc0) return at + 2 <= message.length ? at + 2 : undefined;
    if ((size & 0xc0) !== 0 || at - offset > MAX_NAME_BYTES) return undefined;
    at += size + 1;
  }
}

/**
 * The wire form of a name's text, uncompressed. A trailing dot is allowed.
 * @throws RangeError when a label is empty or longer than 63 bytes, or the name longer than 255.
 */
export function encodeName(name: string): Buffer {
  const bad = (why: string): RangeError => new RangeError(`"${name}" is not a domain name: ${why}`);
  const bytes: number[] = [];
  let label: number[] = [];
  const close = (): void => {
    if (label.length === 0) throw bad('it has an empty label');
    if (label.length > MAX_LABEL_BYTES) throw bad(`a label is longer than ${MAX_LABEL_BYTES} bytes`);
    bytes.push(label.length, ...label);
    label = [];
  };
  const text = name.endsWith('.') && !name.endsWith('\\.') ? name.slice(0, -1) : name;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) throw bad('it has letters outside ASCII; write it in its xn-- form');
    if (code === 0x2e) close();
    else if (code !== 0x5c) label.push(code);
    else {
      const digits = /^\d{3}/.exec(text.slice(i + 1))?.[0];
      label.push(digits === undefined ? text.charCodeAt(i + 1) & 0xff : Number(digits) & 0xff);
      i += digits === undefined ? 1 : 3;
    }
  }
  if (text !== '') close();
  bytes.push(0);
  if (bytes.length > MAX_NAME_BYTES) throw bad(`it is longer than ${MAX_NAME_BYTES} bytes`);
  return Buffer.from(bytes);
}

const HOST_NAME = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;

/**
 * True for names whose labels are letters, digits, `-` and `_`. Only these get addresses: the name ends up in the
 * requests that dialers write, and a line break in it must not.
 */
export function isHostName(name: string): boolean {
  return HOST_NAME.test(name);
}
