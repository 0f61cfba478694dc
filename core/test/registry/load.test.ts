/** Plugins are loaded by explicit names, and refused with the field and the remedy when they break the contract. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { PluginError } from '../../src/api/errors.ts';
import { BUILT_IN_INTERCEPTORS } from '../../src/registry/builtin.ts';
import { Container, Tokens } from '../../src/registry/container.ts';
import { loadDefinitions } from '../../src/registry/definitions.ts';
import { loadPlugins } from '../../src/registry/load.ts';
import { validatePlugin } from '../../src/registry/validate.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-plugins-'));
afterAll(() => rmSync(directory, { recursive: true }));

let written = 0;
function plugin(source: string, mode = 0o644): string {
  const path = join(directory, `plugin-${written++}.mjs`);
  writeFileSync(path, source);
  chmodSync(path, mode);
  return path;
}

const SCHEMA = `{ '~standard': { version: 1, vendor: 'x', validate: (value) => ({ value }) } }`;
const INTERCEPTOR = `{ id: 'mine', priority: 450, capabilities: { networks: [{ family: 4, protocol: 'tcp' }], scopes: ['output'],
  transparent: true, preservesSource: true, owners: [] }, options: ${SCHEMA}, module: new URL(import.meta.url),
  points: () => [], plan: () => ({}), create: () => ({}), cleanUp: async () => [] }`;
const wrap = (fields: string) => `export default { name: 'mine', apiVersion: 1, ${fields} };\n`;

async function refusalOf(source: string): Promise<PluginError> {
  const path = plugin(source);
  const error = await loadPlugins([path], []).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(PluginError);
  expect((error as PluginError).problem).toContain(path);
  return error as PluginError;
}

describe('loading', () => {
  test('the built-in packages by their names, highest priority first, with their ids', async () => {
    const registry = await loadPlugins([]);
    expect(registry.missing).toEqual([]);
    expect(registry.interceptors().map(({ id }) => id)).toEqual([...BUILT_IN_INTERCEPTORS.keys()]);
    expect(registry.plugins.map(({ source }) => source)).toEqual(['@weir/core', ...BUILT_IN_INTERCEPTORS.values()]);
    expect([...registry.dialerTypes.keys()]).toContain('direct');
  });

  test('a plugin takes its place by priority, then by id', async () => {
    const other = INTERCEPTOR.replace(`'mine'`, `'again'`);
    const registry = await loadPlugins([plugin(wrap(`interceptors: [${INTERCEPTOR}, ${other}]`))]);
    expect(
      registry
        .interceptors()
        .map(({ id }) => id)
        .slice(0, 4),
    ).toEqual(['nft', 'again', 'mine', 'tproxy-iptables']);
    expect(registry.interceptor('mine')?.priority).toBe(450);
    expect(registry.interceptor('nobody')).toBeUndefined();
  });

  test('a built-in package that is not installed is left out, and said to be', async () => {
    const registry = await loadPlugins([], ['@weir/not-there']);
    expect(registry.interceptors()).toEqual([]);
    expect(registry.missing).toEqual([
      { name: '@weir/not-there', reason: 'not installed; npm install @weir/not-there' },
    ]);
  });

  test('a plugin that is not installed is an error with the command that installs it', async () => {
    await expect(loadPlugins(['weir-plugin-not-there'], [])).rejects.toMatchObject({
      code: 'WEIR_PLUGIN',
      problem: 'The plugin weir-plugin-not-there is not installed.',
      remedy: 'Install it: npm install weir-plugin-not-there.',
    });
  });

  test('a plugin whose own import is missing is not taken for a missing plugin', async () => {
    const error = await refusalOf(`import 'something-it-needs';\n${wrap('')}`);
    expect(error.problem).toContain('cannot be loaded');
    expect(error.problem).toContain('something-it-needs');
  });

  test('a plugin that throws while it is loaded', async () => {
    const error = await refusalOf(`throw new Error('first line\\nsecond line');`);
    expect(error.problem).toContain('first line');
    expect(error.problem).not.toContain('second line');
    expect(error.cause).toBeInstanceOf(Error);
  });

  test('two registries share nothing', async () => {
    const path = plugin(wrap(`interceptors: [${INTERCEPTOR}]`));
    await loadPlugins([path], []);
    expect((await loadPlugins([], [])).interceptors()).toEqual([]);
  });

  test('the same name twice is one plugin; the same id from two is an error', async () => {
    const path = plugin(wrap(`interceptors: [${INTERCEPTOR}]`));
    expect((await loadPlugins([path, path], [])).interceptors()).toHaveLength(1);
    const second = plugin(wrap(`interceptors: [${INTERCEPTOR}]`));
    await expect(loadPlugins([path, second], [])).rejects.toMatchObject({
      problem: `The plugin ${second} is not usable: the interceptor mine is already registered by ${path}.`,
    });
  });

  test.runIf(process.geteuid?.() === 0)('as root, a file that others may write is not run', async () => {
    const path = plugin(`globalThis.weirPluginRan = true;\n${wrap('')}`, 0o646);
    await expect(loadPlugins([path], [])).rejects.toMatchObject({
      code: 'WEIR_PLUGIN',
      remedy: `Take the right from them: chmod o-w ${path}.`,
    });
    expect(globalThis).not.toHaveProperty('weirPluginRan');
  });
});

describe('the contract', () => {
  test.each([
    ['nothing exported', 'export const x = 1;', 'the default export is missing', 'definePlugin'],
    ['no name', 'export default { apiVersion: 1 };', 'name is no text', "package's name"],
    ['no version', `export default { name: 'x' };`, 'apiVersion is undefined', 'API_VERSION'],
    ['a newer version', `export default { name: 'x', apiVersion: 2 };`, 'apiVersion is 2', 'Update @weir/core'],
    ['an older version', `export default { name: 'x', apiVersion: 0 };`, 'apiVersion is 0', 'Update the plugin'],
    ['no list', wrap('interceptors: {}'), 'interceptors is no list', 'leave it out'],
    ['no definition', wrap('dialers: [1]'), 'dialers[0] is no definition', 'definition object'],
    ['a bad id', wrap(`interceptors: [{ ...${INTERCEPTOR}, id: 'Not An Id' }]`), 'interceptors[0].id', 'a–z'],
    ['no priority', wrap(`interceptors: [{ ...${INTERCEPTOR}, priority: NaN }]`), 'interceptors[0].priority', 'number'],
    [
      'no capabilities',
      wrap(`interceptors: [{ ...${INTERCEPTOR}, capabilities: undefined }]`),
      'interceptors[0].capabilities.networks',
      'can do',
    ],
    ['no plan', wrap(`interceptors: [{ ...${INTERCEPTOR}, plan: 1 }]`), 'interceptors[0].plan', 'Implement plan'],
    ['no schema', wrap(`interceptors: [{ ...${INTERCEPTOR}, options: {} }]`), 'interceptors[0].options', 'schema'],
    ['no module', wrap(`interceptors: [{ ...${INTERCEPTOR}, module: 'x' }]`), 'interceptors[0].module', 'import.meta'],
    ['no kind', wrap(`dialers: [{ type: 'x', kind: 'magic' }]`), 'dialers[0].kind', 'route, handshake or stream'],
    ['no create', wrap(`resolvers: [{ id: 'x', priority: 1 }]`), 'resolvers[0].create', 'Implement create'],
  ])('%s', async (_, source, field, remedy) => {
    const error = await refusalOf(source);
    expect(error.problem).toContain(field);
    expect(error.remedy).toContain(remedy);
  });

  test('what keeps it is returned as it is', () => {
    const fine = { name: 'x', apiVersion: 1 };
    expect(validatePlugin({ default: fine }, 'x')).toBe(fine);
  });
});

describe('definitions for the configuration', () => {
  test('load a built-in package only when it is asked for', async () => {
    const definitions = await loadDefinitions([]);
    expect(definitions.interceptorIds).toEqual([...BUILT_IN_INTERCEPTORS.keys()]);
    expect((await definitions.interceptor('nft'))?.id).toBe('nft');
    expect(await definitions.interceptor('nobody')).toBeUndefined();
  });

  test("know a plugin's interceptors", async () => {
    const definitions = await loadDefinitions([plugin(wrap(`interceptors: [${INTERCEPTOR}]`))]);
    expect(definitions.interceptorIds).toContain('mine');
    expect((await definitions.interceptor('mine'))?.id).toBe('mine');
  });
});

describe('the container', () => {
  test('keeps several providers of a role in order, and none of another', () => {
    const container = new Container();
    expect(container.all(Tokens.dialer)).toEqual([]);
    const first = { type: 'a' } as never;
    const second = { type: 'b' } as never;
    container.add(Tokens.dialer, first);
    container.add(Tokens.dialer, second);
    expect(container.all(Tokens.dialer)).toEqual([first, second]);
    expect(container.all(Tokens.interceptor)).toEqual([]);
    expect(new Container().all(Tokens.dialer)).toEqual([]);
  });
});
