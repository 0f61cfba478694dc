/** Whether the bytes of a measurement really went through the candidate: a fast row that measured nothing is no row. */
import type { Carried } from './candidate.ts';
import type { Reading } from './load.ts';

/** Protocol overhead and rounding of the load generators; a bypassed candidate is off by everything. */
const TOLERANCE = 0.98;

/** How long a candidate may take to count what it has carried: some do when a connection has ended. Milliseconds. */
const PATIENCE = 3000;

/**
 * Asks the candidate until it has carried what the load moved since `before`.
 * @returns what it has carried now; undefined for a candidate that is none.
 * @throws Error when it has carried less.
 */
export async function provePath(
  label: string,
  before: Carried | undefined,
  carried: () => Promise<Carried | undefined>,
  moved: Reading['moved'],
): Promise<Carried | undefined> {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const after = await carried();
    if (before === undefined || after === undefined) return undefined;
    const flows = after.flows - before.flows;
    const bytes = after.bytes - before.bytes;
    if (flows >= moved.flows * TOLERANCE && bytes >= moved.bytes * TOLERANCE) return after;
    if (Date.now() > deadline) {
      throw new Error(
        `${label} carried ${flows} flows and ${bytes} bytes while the load moved ${moved.flows} flows and ` +
          `${moved.bytes} bytes: they did not go through it`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
