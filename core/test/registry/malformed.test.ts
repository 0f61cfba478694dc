/** Every way in which a plugin can be wrong that we know of: refused with its name, the field, and what to do. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { PluginError } from '../../src/api/errors.ts';
import { loadPlugins } from '../../src/registry/load.ts';
import type { Registry } from '../../src/registry/registry.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-malformed-'));
afterAll(() => rmSync(directory, { recursive: true }));

let written = 0;
function plugin(source: string): string {
  const path = join(directory, `plugin-${written++}.mjs`);
  writeFileSync(path, source);
  return path;
}

const SCHEMA = `{ '~standard': { version: 1, vendor: 'x', validate: (value) => ({ value }) } }`;
const BASE = `options: ${SCHEMA}, module: new URL(import.meta.url)`;
const INTERCEPTOR = `{ id: 'mine', priority: 450, capabilities: { networks: [{ family: 4, protocol: 'tcp' }], scopes: ['output'],
  transparent: true, preservesSource: true, owners: [] }, ${BASE},
  points: () => [], plan: () => ({ interceptor: 'mine', steps: [] }), create: () => ({}), cleanUp: async () => [] }`;
const ROUTE = `{ type: 'mine', kind: 'route', ${BASE}, create: () => ({ kind: 'route', routes() {} }) }`;
const RESOLVER = `{ id: 'mine', priority: 450, ${BASE}, create: () => ({ answer: async () => undefined }) }`;
const wrap = (fields: string) => `export default { name: 'mine', apiVersion: 1, ${fields} };\n`;
const interceptor = (fields: string) => wrap(`interceptors: [{ ...${INTERCEPTOR}, ${fields} }]`);
const can = (fields: string) => interceptor(`capabilities: { ...${INTERCEPTOR}.capabilities, ${fields} }`);
const dialer = (fields: string) => wrap(`dialers: [{ ...${ROUTE}, ${fields} }]`);
const resolver = (fields: string) => wrap(`resolvers: [{ ...${RESOLVER}, ${fields} }]`);

const refusal = (field: string, remedy: string) => ({
  name: PluginError.name,
  code: 'WEIR_PLUGIN',
  problem: expect.stringContaining(field),
  remedy: expect.stringContaining(remedy),
});

describe('refused when it is loaded', () => {
  test.each<readonly [string, string, string, string]>([
    ['nothing exported', 'export const x = 1;', 'the default export is missing', 'definePlugin'],
    ['a text exported', `export default 'x';`, 'the default export is no object', 'definePlugin'],
    ['null exported', `export default null;`, 'the default export is no object', 'definePlugin'],
    ['no name', 'export default { apiVersion: 1 };', 'name is no text', "package's name"],
    ['an empty name', `export default { name: '', apiVersion: 1 };`, 'name is no text', "package's name"],
    ['no version', `export default { name: 'x' };`, 'apiVersion is undefined', 'API_VERSION'],
    ['a version in words', `export default { name: 'x', apiVersion: '1' };`, 'apiVersion is 1', 'API_VERSION'],
    ['a newer version', `export default { name: 'x', apiVersion: 2 };`, 'apiVersion is 2', 'Update @weir/core'],
    ['an older version', `export default { name: 'x', apiVersion: 0 };`, 'apiVersion is 0', 'Update the plugin'],
    ['an unknown field', wrap('interceptor: {}'), 'interceptor is no field', 'interceptors'],
    ['no list', wrap('interceptors: {}'), 'interceptors is no list', 'leave it out'],
    ['no definition', wrap('dialers: [1]'), 'dialers[0] is no definition', 'definition object'],
    ['a bad id', interceptor(`id: 'Not An Id'`), 'interceptors[0].id', 'a–z'],
    ['a reserved id', interceptor(`id: 'auto'`), 'interceptors[0].id is "auto"', 'another name'],
    ['no priority', interceptor('priority: NaN'), 'interceptors[0].priority', 'number'],
    ['no capabilities', interceptor('capabilities: undefined'), 'interceptors[0].capabilities.networks', 'can do'],
    ['no networks', can('networks: []'), 'capabilities.networks', 'can do'],
    ['a network of no family', can(`networks: [{ family: 5, protocol: 'tcp' }]`), 'networks[0] is {', 'family: 4 or 6'],
    ['an unknown scope', can(`scopes: ['output', 'input']`), 'scopes[1] is "input"', 'output, forward, explicit'],
    ['an unknown owner', can(`owners: ['pid']`), 'owners[0] is "pid"', 'uid, gid, cgroup'],
    ['transparent unsaid', can('transparent: undefined'), 'capabilities.transparent', 'can do'],
    ['source unsaid', can(`preservesSource: 'yes'`), 'capabilities.preservesSource', 'can do'],
    ['points no function', interceptor('points: []'), 'interceptors[0].points', 'Implement points'],
    ['plan no function', interceptor('plan: {}'), 'interceptors[0].plan is no function', 'Implement plan'],
    ['create no function', interceptor('create: class {}.x'), 'interceptors[0].create', 'Implement create'],
    ['cleanUp no function', interceptor('cleanUp: null'), 'interceptors[0].cleanUp', 'Implement cleanUp'],
    ['no schema', interceptor('options: {}'), 'interceptors[0].options is no Standard Schema', 'zod'],
    [
      'a schema of version 2',
      dialer(`options: { '~standard': { version: 2, validate() {} } }`),
      'options',
      'version 1',
    ],
    ['no module', interceptor(`module: 'x'`), 'interceptors[0].module', 'import.meta'],
    ['a module elsewhere', dialer(`module: new URL('https://x.example/')`), 'dialers[0].module', 'import.meta'],
    ['an odd protocol', dialer(`kind: 'route', protocols: ['sctp']`), 'dialers[0].protocols', 'a list of tcp and udp'],
    ['a stream with udp', dialer(`kind: 'stream', protocols: ['udp']`), 'dialers[0].protocols', 'a handshake dialer'],
    ['no kind', dialer(`kind: 'magic'`), 'dialers[0].kind', 'route, handshake or stream'],
    ['no type', dialer('type: 7'), 'dialers[0].type is no lower-case word', 'a–z'],
    ['a reserved type', dialer(`type: 'reset'`), 'dialers[0].type is "reset"', 'another name'],
    ['a type of core', dialer(`type: 'direct'`), 'direct is already registered by @weir/core', 'rename'],
    ['a twin', wrap(`dialers: [${ROUTE}, ${ROUTE}]`), 'dialer type mine is already registered', 'rename'],
    ['no dialer exported', dialer(`kind: 'handshake'`), 'dialers[0].module does not export', 'export const dialer'],
    ['another dialer exported', `export const dialer = {};${dialer(`kind: 'stream'`)}`, 'as "dialer"', 'export const'],
    ['no resolver priority', resolver('priority: "high"'), 'resolvers[0].priority', 'number'],
    ['a reserved resolver', resolver(`id: 'hosts'`), 'resolvers[0].id is "hosts"', 'another name'],
    ['no resolver create', resolver('create: 1'), 'resolvers[0].create', 'Implement create'],
    ['an import that throws', `throw new Error('on import\\nmore');`, 'cannot be loaded: on import.', 'mend'],
    ['an import that throws a text', `throw 'just words';`, 'cannot be loaded: just words.', 'mend'],
    ['an import that is missing', `import 'something-it-needs';\n${wrap('')}`, 'something-it-needs', 'mend'],
    ['bad syntax', 'export default {;', 'cannot be loaded', 'mend'],
  ])('%s', async (_, source, field, remedy) => {
    const path = plugin(source);
    const error = await loadPlugins([path], []).catch((failure: unknown) => failure);
    expect(error).toMatchObject(refusal(field, remedy));
    expect((error as PluginError).problem).toContain(`The plugin ${path} `);
  });
});

describe('refused when it is used', () => {
  type Use = (registry: Registry) => unknown;
  const create: Use = (registry) => registry.interceptor('mine')?.create({} as never, {} as never);
  const dial: Use = (registry) => registry.dialerTypes.get('mine')?.create({} as never, {} as never);
  const resolve: Use = (registry) => registry.resolvers()[0]?.create({} as never, {} as never);
  const plan: Use = (registry) => registry.interceptor('mine')?.plan({} as never, {} as never);
  const points: Use = (registry) => registry.interceptor('mine')?.points({} as never);
  const clean: Use = (registry) => registry.interceptor('mine')?.cleanUp({} as never);
  const options: Use = (registry) => registry.interceptor('mine')?.options['~standard'].validate({});
  const validate = (body: string) => interceptor(`options: { '~standard': { version: 1, validate() { ${body} } } }`);

  test.each<readonly [string, string, Use, string, string]>([
    ['create throws', interceptor(`create() { throw new Error('no') }`), create, 'create threw "no"', 'mend'],
    ['create gives nothing', interceptor('create() {}'), create, 'create returned no object', 'probe'],
    ['an interceptor without hooks', interceptor('create: () => ({})'), create, 'create(…).probe', 'Implement probe'],
    ['plan throws', interceptor(`plan() { throw new Error('no') }`), plan, 'plan threw "no"', 'mend'],
    ['plan gives no steps', interceptor('plan: async () => ({ steps: [] })'), plan, 'no steps', 'not async'],
    ['points gives no list', interceptor('points: () => ({})'), points, 'points returned no list', 'list from points'],
    ['cleanUp gives no list', interceptor('cleanUp: async () => 1'), clean, 'cleanUp returned no list', 'list'],
    ['cleanUp throws', interceptor(`async cleanUp() { throw new Error('no') }`), clean, 'cleanUp threw', 'mend'],
    ['a schema that throws', validate(`throw new Error('no')`), options, 'validate threw "no"', 'mend'],
    ['a schema without a result', validate(''), options, 'neither a value nor issues', '{ value }'],
    ['issues without texts', validate('return { issues: [1] }'), options, 'neither a value nor issues', 'message'],
    [
      'another kind',
      dialer(`create: () => ({ kind: 'stream', routes() {} })`),
      dial,
      'kind is not "route"',
      'same kind',
    ],
    ['a dialer that is a promise', dialer('create: async () => ({})'), dial, 'create(…).routes', 'Implement routes'],
    ['a resolver without answer', resolver('create: () => ({})'), resolve, 'create(…).answer', 'Implement answer'],
  ])('%s', async (_, source, use, field, remedy) => {
    const path = plugin(source);
    const registry = await loadPlugins([path], []);
    const error = await (async () => use(registry))().catch((failure: unknown) => failure);
    expect(error).toMatchObject(refusal(field, remedy));
    expect((error as PluginError).problem).toContain(`The plugin ${path} `);
  });

  test("an error with a code of Weir's passes as it is, also of another copy of the class", async () => {
    const thrown = `throw Object.assign(new Error('x'), { code: 'WEIR_UNSUPPORTED', problem: 'x', remedy: 'y' })`;
    const registry = await loadPlugins([plugin(interceptor(`plan() { ${thrown} }`))], []);
    expect(() => plan(registry)).toThrow(expect.objectContaining({ code: 'WEIR_UNSUPPORTED', remedy: 'y' }));
  });
});
