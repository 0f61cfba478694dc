/** Plugins are loaded by explicit names, and take their places; malformed.test.ts has those that are refused. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { BUILT_IN_INTERCEPTORS } from '../../src/registry/builtin.ts';
import { Container, Tokens } from '../../src/registry/container.ts';
import { loadDefinitions } from '../../src/registry/definitions.ts';
import { loadPlugins } from '../../src/registry/load.ts';
import { validatePlugin } from '../../src/registry/validate.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-plugins-'));
afterAll(() => rmSync(directory, { recursive: true }));

let written = 0;
function plugin(source: string): string {
  const path = join(directory, `plugin-${written++}.mjs`);
  writeFileSync(path, source);
  return path;
}

const SCHEMA = `{ '~standard': { version: 1, vendor: 'x', validate: (value) => ({ value }) } }`;
const INTERCEPTOR = `{ id: 'mine', priority: 450, capabilities: { networks: [{ family: 4, protocol: 'tcp' }], scopes: ['output'],
  transparent: true, preservesSource: true, owners: [] }, options: ${SCHEMA}, module: new URL(import.meta.url),
  points: () => [], plan: () => ({}), create: () => ({}), cleanUp: async () => [] }`;
const wrap = (fields: string) => `export default { name: 'mine', apiVersion: 1, ${fields} };\n`;

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
      remedy: 'Install it beside Weir: npm install weir-plugin-not-there.',
    });
  });

  test.each([
    ['dist/index.js', 'is not installed', 'A path begins with ./ or /: ./dist/index.js.'],
    ['@nobody/weir-plugin/more', 'is not installed', 'Install it beside Weir: npm install @nobody/weir-plugin.'],
    [join(directory, 'missing.mjs'), 'is not there', 'build it first where it is built (npx tsc).'],
  ])('what looks like a path, or is one, is told apart from a package: %s', async (name, problem, remedy) => {
    await expect(loadPlugins([name], [])).rejects.toMatchObject({
      problem: `The plugin ${name} ${problem}.`,
      remedy: expect.stringContaining(remedy),
    });
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
});

describe('the contract', () => {
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
