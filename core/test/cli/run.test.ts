/** `weir run` around an engine that only answers: signals, reloads, what is said and the exit code. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { ConfigurationError, HostChangeError } from '../../src/api/errors.ts';
import { run, type RunningEngine, type StartEngine } from '../../src/cli/commands/run.ts';
import type { Configuration } from '../../src/config/model.ts';
import { testConsole, type TestConsole } from './console.ts';
import { STATUS } from './engine-target.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-run-'));
const file = join(directory, 'weir.yaml');
const GOOD = 'services: [{ name: web, addresses: web.internal }]\n';
beforeEach(() => writeFileSync(file, GOOD));
afterAll(() => rmSync(directory, { recursive: true }));

interface TestEngine extends RunningEngine {
  readonly calls: string[];
  finish(error?: Error): void;
}

function testEngine(overrides: Partial<RunningEngine> = {}): TestEngine {
  const ended = Promise.withResolvers<{ readonly error?: Error }>();
  const engine: TestEngine = {
    calls: [],
    status: () => STATUS,
    stopped: ended.promise,
    finish: (error) => ended.resolve(error === undefined ? {} : { error }),
    async reload() {
      engine.calls.push('reload');
    },
    async stop(options) {
      engine.calls.push(options?.now === true ? 'stop now' : 'stop');
      engine.finish();
    },
    ...overrides,
  };
  return engine;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const ready = (console: TestConsole) => until(() => console.err().includes('ready'));
const started =
  (engine: RunningEngine): StartEngine =>
  async () =>
    engine;

test('says which interceptor captures, then ready; a signal stops it and it exits with 0', async () => {
  const console = testConsole({ terminal: true });
  const engine = testEngine();
  const code = run(console, file, {}, started(engine));
  await ready(console);
  expect(console.out()).toBe(`INTERCEPTOR  OUTCOME      DETAIL
nft          selected     libnftables 1.0.6
tun          unsupported  /dev/net/tun: modprobe tun
ready: nft captures for 1 service
`);
  expect(console.err()).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} info {2}ready interceptor=nft transparent=true services=1 owner=default\n$/,
  );
  console.send('SIGTERM');
  expect(await code).toBe(0);
  expect(engine.calls).toEqual(['stop']);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) expect(console.listeners(signal)).toBe(0);
});

test('where nobody reads along, logs are JSON and standard output stays empty', async () => {
  const console = testConsole();
  const engine = testEngine();
  const code = run(console, file, {}, started(engine));
  await ready(console);
  engine.finish();
  expect(await code).toBe(0);
  expect(console.out()).toBe('');
  expect(JSON.parse(console.err().split('\n')[0] as string)).toMatchObject({ event: 'ready', interceptor: 'nft' });
});

test('flags reach the engine', async () => {
  let given: Configuration | undefined;
  const engine = testEngine();
  engine.finish();
  await run(
    testConsole({ environment: { WEIR_OWNER: 'edge' } }),
    file,
    { interceptor: 'tun', logLevel: 'debug' },
    (c) => {
      given = c;
      return Promise.resolve(engine);
    },
  );
  expect(given).toMatchObject({ interceptor: ['tun'], owner: 'edge', log: { level: 'debug' }, file });
});

test('a second signal stops now and exits with 130', async () => {
  const console = testConsole();
  const calls: string[] = [];
  const engine = testEngine({
    // An orderly stop that waits for a flow that never ends.
    stop: (options) => {
      calls.push(options?.now === true ? 'stop now' : 'stop');
      return options?.now === true ? Promise.resolve() : new Promise(() => {});
    },
  });
  const code = run(console, file, {}, started(engine));
  await ready(console);
  console.send('SIGINT');
  console.send('SIGTERM');
  expect(await code).toBe(130);
  expect(calls).toEqual(['stop', 'stop now']);
});

test('a signal during the start takes the start back and exits with 0', async () => {
  const console = testConsole();
  let rolledBack = false;
  const code = run(
    console,
    file,
    {},
    (_, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          rolledBack = true;
          reject(signal.reason as Error);
        });
      }),
  );
  await until(() => console.listeners('SIGINT') === 1);
  console.send('SIGINT');
  expect(await code).toBe(0);
  expect(rolledBack).toBe(true);
  expect(console.err()).toContain('stopped before it was ready');
});

test('a roll-back that fails is reported, although a signal began it', async () => {
  const console = testConsole();
  const failure = new HostChangeError({ problem: 'a rule is left.', remedy: 'Run weir cleanup.' });
  const code = run(
    console,
    file,
    {},
    (_, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(failure))),
  );
  await until(() => console.listeners('SIGINT') === 1);
  console.send('SIGINT');
  await expect(code).rejects.toBe(failure);
});

test('a start that ends although it was aborted is stopped', async () => {
  const console = testConsole();
  const engine = testEngine();
  const gate = Promise.withResolvers<RunningEngine>();
  const code = run(console, file, {}, () => gate.promise);
  await until(() => console.listeners('SIGINT') === 1);
  console.send('SIGINT');
  gate.resolve(engine);
  expect(await code).toBe(0);
  expect(engine.calls).toEqual(['stop']);
  expect(console.err()).not.toContain('"event":"ready"');
});

test('an engine that stops by itself gives its error', async () => {
  const engine = testEngine();
  const failure = new HostChangeError({ problem: 'three workers died.', remedy: 'Report it.' });
  const console = testConsole();
  const code = run(console, file, {}, started(engine));
  await ready(console);
  engine.finish(failure);
  await expect(code).rejects.toBe(failure);
});

test('a stop that fails gives its error', async () => {
  const failure = new HostChangeError({ problem: 'a rule is left.', remedy: 'Run weir cleanup.' });
  const engine = testEngine({ stop: () => Promise.reject(failure) });
  const console = testConsole();
  const code = run(console, file, {}, started(engine));
  await ready(console);
  console.send('SIGTERM');
  await expect(code).rejects.toBe(failure);
});

test('SIGHUP reloads by reading the file again; a bad one is logged with every fault and changes nothing', async () => {
  const console = testConsole();
  let reread: (() => Promise<Configuration>) | undefined;
  const owners: string[] = [];
  const engine = testEngine({
    async reload() {
      owners.push((await reread?.())?.owner ?? '?');
    },
  });
  const code = run(console, file, {}, (_, options) => {
    reread = options.reload;
    return Promise.resolve(engine);
  });
  await ready(console);
  writeFileSync(file, `${GOOD}owner: later\n`);
  console.send('SIGHUP');
  await until(() => owners.length === 1);
  expect(owners).toEqual(['later']);
  writeFileSync(file, `${GOOD}ownr: x\nworkers: 0\n`);
  console.send('SIGHUP');
  await until(() => console.err().includes('reload-refused'));
  const faults = console
    .err()
    .split('\n')
    .filter((line) => line.includes('configuration-fault'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(faults).toMatchObject([
    { file, line: 2, column: 1, problem: 'unknown key "ownr" (did you mean "owner"?)' },
    { file, line: 3, column: 10, problem: '0 is out of range', allowed: 'a whole number from 1 to 64' },
  ]);
  expect(owners).toHaveLength(1);
  engine.finish();
  expect(await code).toBe(0);
});

test('a reload that fails for another reason is logged and the run goes on', async () => {
  const console = testConsole();
  const engine = testEngine({ reload: () => Promise.reject(new Error('nft said no')) });
  const code = run(console, file, {}, started(engine));
  await ready(console);
  console.send('SIGHUP');
  await until(() => console.err().includes('reload-failed'));
  expect(console.err()).toContain('nft said no');
  expect(console.err()).not.toMatch(/ at .*\.ts/);
  engine.finish();
  expect(await code).toBe(0);
});

test('a bad configuration never starts an engine', async () => {
  writeFileSync(file, 'services: 1\n');
  let asked = false;
  const code = run(testConsole(), file, {}, () => {
    asked = true;
    return Promise.resolve(testEngine());
  });
  await expect(code).rejects.toBeInstanceOf(ConfigurationError);
  expect(asked).toBe(false);
});
