/**
 * A vitest reporter whose last line is plain text that any tool can read: `N passed, N failed, N skipped`. Tests that did
 * not run are named, and those that needed a second attempt, with the error of the first. With WEIR_SUMMARY=FILE the counts are also appended to that file, as one line of JSON.
 */
import { appendFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 };
    const skipped: string[] = [];
    const again: string[] = [];
    for (const module of modules) {
      // A file that does not load has no tests to count; it is a failure all the same.
      if (module.errors().length > 0) counts.failed++;
      for (const test of module.children.allTests()) {
        const { state, errors: faults = [] } = test.result();
        // A busy machine may be to blame, or a race: whoever reads this should look.
        if (state === 'passed' && (test.diagnostic()?.retryCount ?? 0) > 0) {
          const [first] = faults.map(({ message }) => message.split('\n')[0]);
          again.push(`${module.relativeModuleId}: ${test.fullName}: ${first ?? 'no error told'}`);
        }
        if (state === 'passed' || state === 'failed') counts[state]++;
        else {
          counts.skipped++;
          skipped.push(`${module.relativeModuleId}: ${test.fullName}`);
        }
      }
    }
    for (const name of skipped) process.stdout.write(`not run: ${name}\n`);
    for (const name of again) process.stdout.write(`passed at the second attempt: ${name}\n`);
    const file = process.env['WEIR_SUMMARY'];
    if (file) appendFileSync(file, `${JSON.stringify(counts)}\n`);
    process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
  }
}
