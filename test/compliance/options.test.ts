/** What `npm run compliance` says about its options, and to options that it does not have. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

function compliance(...args: readonly string[]) {
  const script = fileURLToPath(new URL('../../scripts/compliance.ts', import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--conditions=source', script, ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

test.each(['--help', '-h'])('%s prints them and runs nothing', (option) => {
  const { status, stdout, stderr } = compliance(option);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/--only TEXT/);
  expect(stdout).not.toMatch(/passed/);
});

test('an unknown one is refused in two sentences', () => {
  const { status, stderr } = compliance('--hlp');
  expect(status).toBe(2);
  expect(stderr).toMatch(/^Unknown option '--hlp'.*\nnpm run compliance -- --help lists the options\.\n$/);
});
