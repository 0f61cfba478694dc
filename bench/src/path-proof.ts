/** Whether the bytes of a measurement really went through the candidate: a fast row that measured nothing is no row. */
import type { Carried } from './candidate.ts';
import type { Reading } from './load.ts';

/** Protocol overhead and rounding of the load generators; a bypassed candidate is off by everything. */
const TOLERANCE = 0.98;

/** @throws Error when the candidate carried less than the load moved. */
export function provePath(
  label: string,
  before: Carried | undefined,
  after: Carried | undefined,
  moved: Reading['moved'],
): void {
  if (before === undefined || after === undefined) return;
  const flows = after.flows - before.flows;
  const bytes = after.bytes - before.bytes;
  if (flows >= moved.flows * TOLERANCE && bytes >= moved.bytes * TOLERANCE) return;
  throw new Error(
    `${label} carried ${flows} flows and ${bytes} bytes while the load moved ${moved.flows} flows and ` +
      `${moved.bytes} bytes: they did not go through it`,
  );
}
