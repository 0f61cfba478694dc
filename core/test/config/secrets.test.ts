/** Secrets: where they may stand, who may read them, and that none is ever printed. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { faultText } from '../../src/config/fault-text.ts';
import { faultsOf, readFileAt, refusal } from './reading.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-secrets-'));
afterAll(() => rmSync(directory, { recursive: true }));

let written = 0;
function file(text: string, mode: number): string {
  const path = join(directory, `file-${written++}`);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

const withDialer = (dialer: string) => `services: []\ndialers:\n  corp: ${dialer}\n`;

test('a secret comes from a file that only its owner reads, without its last newline', async () => {
  const secret = file('hunter2\n', 0o600);
  const { dialers } = await readFileAt(
    file(withDialer(`{ type: login, user: u, password: { file: ${secret} } }`), 0o644),
  );
  expect(dialers).toEqual([{ name: 'corp', type: 'login', options: { user: 'u', password: 'hunter2' } }]);
});

test('a relative path begins at the configuration', async () => {
  file('never read', 0o600);
  const name = 'relative.password';
  writeFileSync(join(directory, name), 'from here', { mode: 0o600 });
  const { dialers } = await readFileAt(file(withDialer(`{ type: login, password: { file: ${name} } }`), 0o644));
  expect(dialers[0]?.options).toEqual({ password: 'from here' });
});

test('a secrets file that others may read is refused, with the command that mends it', async () => {
  const secret = file('hunter2', 0o644);
  const config = file(withDialer(`{ type: login, password: { file: ${secret} } }`), 0o600);
  const error = await refusal(readFileAt(config));
  expect(error.faults).toHaveLength(1);
  expect(error.faults[0]).toMatchObject({
    line: 3,
    column: 42,
    path: 'dialers.corp.password.file',
    problem: `${secret} may be read by others`,
    allowed: `a file that others cannot read: chmod o-rwx ${secret}`,
  });
});

test.each([
  ['a missing file', `{ file: /nowhere/at/all }`, '/nowhere/at/all cannot be read (ENOENT)'],
  ['a directory', `{ file: ${directory} }`, `${directory} cannot be read (not a regular file)`],
  ['no path', '{ path: x }', 'a secret needs the path of its file'],
])('%s is refused as a secret', async (_, value, problem) => {
  const error = await refusal(readFileAt(file(withDialer(`{ type: login, password: ${value} }`), 0o600)));
  expect(error.faults.map((fault) => fault.problem)).toContain(problem);
});

test('an empty secrets file is refused', async () => {
  const secret = file('\n', 0o600);
  const error = await refusal(readFileAt(file(withDialer(`{ type: login, password: { file: ${secret} } }`), 0o600)));
  expect(error.faults.map((fault) => fault.problem)).toEqual([`${secret} is empty`]);
});

test('an inline secret is taken only from a configuration that others cannot read', async () => {
  const text = withDialer('{ type: login, password: hunter2 }');
  const { dialers } = await readFileAt(file(text, 0o640));
  expect(dialers[0]?.options).toEqual({ password: 'hunter2' });
  const open = file(text, 0o644);
  const faults = await faultsOf(readFileAt(open));
  expect(faults).toEqual([
    `${open}:3:34: a secret stands in ${open}, which may be read by others
   3 |   corp: { type: login, password: ******* }
     |                                  ^ allowed: { file: PATH }, or a configuration that others cannot read: chmod o-rwx ${open}`,
  ]);
});

test('an inline secret of a dialer inside of a service is looked at as well', async () => {
  const open = file('services: [{ name: a, addresses: x, dialer: { type: login, password: hunter2 } }]\n', 0o604);
  const faults = await faultsOf(readFileAt(open));
  expect(faults.join('\n')).toContain('a secret stands in');
  expect(faults.join('\n')).not.toContain('hunter2');
});

test('a fault beside a secret does not print it, whether the text is YAML or not', async () => {
  const texts = [
    withDialer('{ type: logn, password: hunter2 }'),
    withDialer('{ type: login, password: "hunter2", colour: red }'),
    `${withDialer('{ type: login, password: hunter2')}`,
    `services: []\ndialers:\n  corp:\n    type: login\n    password: hunter2\n    password: hunter2\n`,
    `services: []\ndialers:\n  corp:\n    type: login\n    password: hunter2: x\n`,
  ];
  for (const text of texts) {
    const error = await refusal(readFileAt(file(text, 0o600)));
    const shown = error.faults.map((fault) => faultText(fault)).join('\n');
    expect(shown).not.toBe('');
    expect(`${shown}${error.message}`).not.toContain('hunter2');
  }
});
