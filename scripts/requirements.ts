/**
 * Prints which groups of tests this machine can run and which it cannot, with the reason and the remedy. Ends with exit
 * code 1 when WEIR_REQUIRE names a group that it cannot run or that does not exist.
 */
import { missingFor, requiredGroups, REQUIREMENTS } from '@weir/core/testing';

let failed = false;
const required = requiredGroups();
for (const name of required) {
  if (REQUIREMENTS.some((group) => group.name === name)) continue;
  failed = true;
  process.stdout.write(`WEIR_REQUIRE names "${name}", and there is no such group\n`);
}
for (const { name, covers } of REQUIREMENTS) {
  const missing = missingFor(name);
  const verdict = missing === undefined ? 'can run' : `cannot run: ${missing}`;
  process.stdout.write(`${name.padEnd(16)} ${covers}: ${verdict}\n`);
  if (missing === undefined || !required.includes(name)) continue;
  failed = true;
  process.stdout.write(`${name.padEnd(16)} is in WEIR_REQUIRE, so this is a failure\n`);
}
process.exitCode = failed ? 1 : 0;
