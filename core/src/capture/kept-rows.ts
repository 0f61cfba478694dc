/**
 * What two capture sets have in common. Whoever turns rows into something of a kernel keeps what it made by the row: so a
 * row that says what it said before must be the same object as before.
 */
import type { CapturePorts, CaptureRow } from '../api/capture.ts';
import { comparePrefixes } from './address.ts';

/**
 * `rows`, with the row of `before` in the place of each that equals it; `before` itself when all do. Both are sorted as in a
 * capture set; equal choices are one array in both. Lists of ports that are one array in `rows` are one in the answer.
 */
export function keepRows(rows: readonly CaptureRow[], before: readonly CaptureRow[]): readonly CaptureRow[] {
  const counterparts = pair(rows, before);
  const ports = new Map<CaptureRow['ports'], CaptureRow['ports']>();
  for (const [place, row] of rows.entries()) {
    const old = counterparts[place];
    if (old !== undefined && !ports.has(row.ports) && samePorts(row.ports, old.ports)) ports.set(row.ports, old.ports);
  }
  let kept = 0;
  const result = rows.map((row, place) => {
    const old = counterparts[place];
    const known = ports.get(row.ports);
    if (known === undefined) return row;
    if (old?.ports !== known) return { prefix: row.prefix, ports: known };
    kept++;
    return old;
  });
  return kept === rows.length && kept === before.length ? before : result;
}

/** The row of `before` that has the same prefix, for each of `rows`. */
function pair(rows: readonly CaptureRow[], before: readonly CaptureRow[]): ReadonlyArray<CaptureRow | undefined> {
  let at = 0;
  return rows.map(({ prefix }) => {
    for (let old = before[at]; old !== undefined; old = before[++at]) {
      const order = comparePrefixes(old.prefix, prefix);
      if (order === 0) return old;
      if (order > 0) return undefined;
    }
    return undefined;
  });
}

function samePorts(a: readonly CapturePorts[], b: readonly CapturePorts[]): boolean {
  if (a.length !== b.length) return false;
  return a.every(({ protocol, first, last, choices }, index) => {
    const other = b[index] as CapturePorts;
    return other.protocol === protocol && other.first === first && other.last === last && other.choices === choices;
  });
}
