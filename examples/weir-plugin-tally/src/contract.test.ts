// What @weir/core/testing asks of every interceptor. Needs root or a user namespace; TCP_OUTPUT_CASES are slow.
// `TALLY_CASES=regular expression` chooses among them.
import { casesByCapability, HOOK_CASES, TCP_OUTPUT_CASES } from '@weir/core/testing';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { interceptor } from './interceptor.ts';

for (const { name, timeoutMs, run } of HOOK_CASES) {
  test(`hooks: ${name}`, { timeout: timeoutMs }, () => run({ definition: interceptor }));
}

const environment = { interceptor: 'tally', config: { plugins: [fileURLToPath(new URL('./index.js', import.meta.url))] } };
const chosen = new RegExp(process.env.TALLY_CASES ?? '^$');
for (const { name, timeoutMs, run } of casesByCapability(TCP_OUTPUT_CASES, interceptor.capabilities).held) {
  if (chosen.test(name)) test(`output: ${name}`, { timeout: timeoutMs }, () => run(environment));
}
