// npm test: the set-up, the checks of `npm run check`, and every test that this machine can run. What it cannot run is
// named. With arguments (`npm test -- core/test/dns -t 'a name'`) only those tests, without the checks.
// The last line is the sum of everything: `N passed, N failed, N skipped`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { environment, main, nodePath, ROOT, setup } from './setup.mjs';

const CHECKS = [
  ['types', ['tsc', '-p', 'tsconfig.check.json']],
  ['lint', ['oxlint', '--type-aware', '--quiet', 'core', 'plugins', 'bench', 'test', 'scripts']],
  ['format', ['oxfmt', '--check', 'core', 'plugins', 'bench', 'test', 'scripts']],
];

const heading = (text) => process.stdout.write(`\n=== ${text}\n`);

await main(() => {
  setup({ purpose: 'test' });
  const directory = mkdtempSync(join(tmpdir(), 'weir-test-'));
  const summary = join(directory, 'summary');
  const env = { ...environment(), WEIR_SUMMARY: summary };
  const run = ([program, ...args]) => spawnSync(program, args, { cwd: ROOT, env, stdio: 'inherit' }).status === 0;
  const totals = { passed: 0, failed: 0, skipped: 0 };
  const step = (name, command) => {
    heading(name);
    const ok = run(command);
    totals[ok ? 'passed' : 'failed']++;
    process.stdout.write(`${name}: ${ok ? 'passed' : 'FAILED'}\n`);
  };
  const vitest = (wrap, ...args) => {
    const before = counts(summary).length;
    const ok = run([...wrap, nodePath(), join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', ...args]);
    const reports = counts(summary).slice(before);
    // No report: vitest itself did not come to an end. A report without failures but a bad exit: an unhandled error.
    if (reports.length === 0 || (!ok && reports.every(({ failed }) => failed === 0))) totals.failed++;
    for (const report of reports) for (const key of Object.keys(totals)) totals[key] += report[key];
  };

  try {
    const chosen = process.argv.slice(2);
    const root = process.getuid() === 0;
    const userns = root ? [] : ['unshare', '-Urnm'];
    const nested = root || run([...userns, 'true']);
    if (!nested) process.stdout.write('user namespaces are refused here and you are not root\n');
    if (chosen.length === 0) {
      for (const [name, command] of CHECKS) step(name, command);
      heading('what this machine can run');
      if (!run([...(nested ? userns : []), nodePath(), '--conditions=source', 'scripts/requirements.ts']))
        totals.failed++;
    }
    heading('tests');
    if (root) vitest([], ...chosen);
    else {
      // Private hosts need a user namespace around the whole process; everything else runs as the user that started it.
      const others = ['--project', 'unit', '--project', 'conventions'];
      vitest([], ...others, '--passWithNoTests', ...chosen);
      vitest(nested ? userns : [], '--project', 'net', '--project', 'alone', '--passWithNoTests', ...chosen);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  process.stdout.write(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped\n`);
  return totals.failed === 0 ? 0 : 1;
});

function counts(file) {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  } catch {
    return [];
  }
}
