/**
 * Documents that are JSON, which is YAML too: read in a hundredth of the time. Where a plain reader and the one of YAML could
 * differ, the text is left to that one, which also knows where a fault is.
 */

/** No configuration is as deep as this; what is, may be meant to exhaust the stack. */
const DEPTH = 32;

/** Every text of valid JSON, one after the other; a key is one before a colon. */
const TEXTS = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?/g;

/** @returns the value of a text that is JSON and says the same in YAML; `undefined` for anything else. */
export function parsePlainJson(text: string): unknown {
  // YAML refuses tabs before the first word of a line, and has a limit to the length of keys.
  if (!text.startsWith('{') || text.includes('\t')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const keys = countKeys(value, 0);
  // JSON takes the last of two equal keys without a word.
  return keys === keysIn(text) ? value : undefined;
}

/** @param text valid JSON */
function keysIn(text: string): number {
  let count = 0;
  for (const [, colon] of text.matchAll(TEXTS)) if (colon !== undefined) count++;
  return count;
}

/** @returns how many keys there are at all depths; `undefined` where YAML could see something else. */
function countKeys(value: unknown, depth: number): number | undefined {
  if (typeof value !== 'object' || value === null) return 0;
  if (depth === DEPTH) return undefined;
  let count = 0;
  if (!Array.isArray(value)) {
    for (const key of Object.keys(value)) {
      if (key.length > 256 || key === '__proto__') return undefined;
      count++;
    }
  }
  for (const member of Object.values(value)) {
    const inside = countKeys(member, depth + 1);
    if (inside === undefined) return undefined;
    count += inside;
  }
  return count;
}
