/** Log lines: JSON for programs, one readable line for people, and nothing lost at the end. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { HostChangeError } from '../../src/api/errors.ts';
import { createLogger, isAdjustable, type LoggerOptions } from '../../src/observe/logger.ts';
import { prettyLine } from '../../src/observe/pretty-line.ts';

function logger(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const log = createLogger({ level: 'info', format: 'json', write: (line) => void lines.push(line), ...options });
  return { log, lines };
}

const CLOCK = /^\d\d:\d\d:\d\d\.\d{3} /;

test('JSON: level, time, fields of the child and of the line, message', () => {
  const { log, lines } = logger();
  log.child({ part: 'nft' }).warn({ table: 'weir_default' }, 'gone');
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] as string)).toEqual({
    level: 40,
    time: expect.any(Number),
    pid: process.pid,
    part: 'nft',
    table: 'weir_default',
    msg: 'gone',
  });
});

test('for people: one line; endpoints as they are written, flows opened, ids and times left out', () => {
  const { log, lines } = logger({ format: 'pretty', colour: false });
  const flow = { id: '7', source: { address: '::1', port: 5 }, startedAt: 1, outcome: 'closed', name: 'a b' };
  log.info({ event: 'flow', flow, list: [1, 2], nested: { deep: true } }, 'flow closed');
  expect((lines[0] as string).replace(CLOCK, '')).toBe(
    'info  flow closed id=7 source=[::1]:5 outcome=closed name="a b" list=[1,2] nested.deep=true\n',
  );
});

test('auto is pretty on a terminal and JSON elsewhere', () => {
  for (const [terminal, pattern] of [[true, CLOCK] as const, [false, /^\{/] as const]) {
    const { log, lines } = logger({ format: 'auto', terminal, colour: false });
    log.info({}, 'x');
    expect(lines[0]).toMatch(pattern);
  }
});

test('colour is only for readers that want it', () => {
  const json = '{"level":50,"time":0,"msg":"x","a":1}\n';
  expect(prettyLine(json, true)).toContain('\u001b[31m');
  expect(prettyLine(json, false)).not.toContain('\u001b');
});

test('levels: what is below is left out, silent says nothing, and a change reaches children', () => {
  const { log, lines } = logger({ level: 'warn' });
  const child = log.child({ a: 1 });
  child.info({}, 'no');
  log.level = 'debug';
  child.debug({}, 'yes');
  log.level = 'silent';
  child.error({}, 'no');
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['yes']);
  expect(isAdjustable(log) && isAdjustable(child)).toBe(true);
  expect(isAdjustable({ ...log, child: () => log } as never)).toBe(false);
});

test('an error is its text and its cause; the stack only at debug', () => {
  const error = new HostChangeError({ problem: 'nft failed.', remedy: 'Look.', cause: new Error('EPERM') });
  const { log, lines } = logger();
  log.error({ error }, 'not started');
  log.level = 'debug';
  log.error({ error }, 'not started');
  const [first, second] = lines.map((line) => JSON.parse(line) as { error: Record<string, unknown> });
  expect(first?.error).toEqual({ message: 'nft failed. Look.', code: 'WEIR_HOST_CHANGE', cause: 'EPERM' });
  expect(second?.error['stack']).toContain('logger.test.ts');
});

test('a message of several lines is shown alone', () => {
  expect(prettyLine('{"level":50,"time":0,"msg":"a:1:2: bad\\n   1 | a","file":"a"}\n', false).replace(CLOCK, '')).toBe(
    'error a:1:2: bad\n   1 | a\n',
  );
});

test('what is no JSON is passed on', () => {
  expect(prettyLine('plain\n', false)).toBe('plain\n');
  expect(prettyLine('7\n', false)).toBe('7\n');
});

const LOGGER = join(import.meta.dirname, '../../src/observe/logger.ts');
const script = (body: string) => [
  '--conditions=source',
  '--input-type=module',
  '-e',
  `import { createLogger } from ${JSON.stringify(LOGGER)};
   const log = createLogger({ level: 'info', format: 'json' });
   ${body}`,
];

test('goes to standard error, and every line before an exit is there', async () => {
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    script(`for (let i = 0; i < 2000; i++) log.info({ i }, 'line'); process.exit(0);`),
    { maxBuffer: 16 * 1024 * 1024 },
  );
  expect(stdout).toBe('');
  const lines = stderr.trimEnd().split('\n');
  expect(lines).toHaveLength(2000);
  expect(JSON.parse(lines.at(-1) as string)).toMatchObject({ i: 1999 });
});

test('a reader that is gone does not end the process', async () => {
  const child = spawn(
    process.execPath,
    script(`process.stderr.on('error', () => {});
      setTimeout(() => { for (let i = 0; i < 100; i++) log.info({ i }, 'line'); process.stdout.write('alive'); }, 200);`),
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  child.stderr.destroy();
  let out = '';
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  const [code] = (await once(child, 'exit')) as [number];
  expect({ code, out }).toEqual({ code: 0, out: 'alive' });
});
