/** `weir plugins`, with and without a configuration. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { BUILT_IN_INTERCEPTORS } from '../../src/registry/builtin.ts';
import { weir } from './console.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-plugins-'));
afterAll(() => rmSync(directory, { recursive: true }));

const OWN = join(directory, 'own.mjs');
writeFileSync(
  OWN,
  `const options = { '~standard': { version: 1, vendor: 'own', validate: (value) => ({ value }) } };
  export default {
  name: 'own', apiVersion: 1,
  resolvers: [{ id: 'static', priority: 700, module: new URL(import.meta.url), options, create: () => ({ answer: async () => undefined }) }],
};
`,
);

interface Listed {
  readonly plugins: readonly { readonly kind: string; readonly name: string; readonly plugin: string }[];
}

test('names the built-in ones, the highest priority first', async () => {
  const { code, out, err } = await weir(['plugins', '--json']);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  const { plugins } = JSON.parse(out) as Listed;
  const interceptors = plugins.filter(({ kind }) => kind === 'interceptor');
  expect(interceptors.map(({ name, plugin }) => [name, plugin])).toEqual([...BUILT_IN_INTERCEPTORS]);
  expect(plugins).toContainEqual({ kind: 'dialer', name: 'direct', plugin: '@weir/core' });
});

test('names one that the command line or a file asks for, and where it came from', async () => {
  const file = join(directory, 'weir.yaml');
  writeFileSync(file, 'services: []\nplugins: [./own.mjs]\n');
  const row = expect.stringMatching(new RegExp(`^resolver +static +700 +${OWN}$`, 'm'));
  expect(await weir(['plugins', '--plugin', OWN])).toEqual({ code: 0, out: row, err: '' });
  expect(await weir(['plugins', file])).toEqual({ code: 0, out: row, err: '' });
});

test('one that is not there is the only fault: what it would bring is not looked for', async () => {
  const broken = join(directory, 'broken.yaml');
  const services = 'services: [{ name: web, addresses: [203.0.113.0/24], dialer: { type: tally } }]';
  const rest = 'resolver: { plugins: { tally: {} } }\ninterceptors: { tally: {} }\ninterceptor: tally';
  writeFileSync(broken, `${services}\n${rest}\nplugins: [./not-there.mjs]\n`);
  const { code, err } = await weir(['check', broken]);
  expect(code).toBe(2);
  expect(err).toContain(`The plugin ${join(directory, 'not-there.mjs')} is not there.`);
  expect(err).toContain(`weir: ${broken} has one fault.`);
});

test('one that is not installed is a fault with its remedy', async () => {
  const { code, out, err } = await weir(['plugins', '--plugin', 'weir-nowhere']);
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toContain('npm install weir-nowhere');
});
