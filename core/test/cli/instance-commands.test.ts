/** Commands that talk to a running instance, over a real admin socket with an engine that only answers. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type AdminServer, startAdminServer } from '../../src/admin/server.ts';
import { ConfigurationError } from '../../src/api/errors.ts';
import { runCommandLine } from '../../src/cli/program.ts';
import { statusPage } from '../../src/cli/commands/status.ts';
import { createLogger } from '../../src/observe/logger.ts';
import { testConsole, weir } from './console.ts';
import { NAME, FLOW, STATUS, testTarget } from './engine-target.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-instance-'));
const path = join(directory, 'admin.sock');
const target = testTarget();
const at = ['--admin', path];
let server: AdminServer;
const clock = new Date(FLOW.startedAt).toTimeString().slice(0, 8);

const log = createLogger({ level: 'info', format: 'json', write: () => {} });

beforeAll(async () => {
  server = await startAdminServer(target, path, log);
});
beforeEach(() => {
  target.failure = undefined;
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

test('status on one page', () => {
  const page = statusPage(testConsole().stdout, STATUS, STATUS.startedAt + 3_725_000);
  expect(page).toBe(`weir 0.1.0, owner default, pid 4711, running, up 1 h 2 min
configuration /etc/weir/weir.yaml, generation 3
captures with nft
2 living flows on 1 worker
resolver listens on udp://127.0.0.1:53; reached by resolv-conf (/etc/resolv.conf is a regular file that can be written); upstreams 192.0.2.53:53; 4 names; self-test failed (no answer)

Interceptors
INTERCEPTOR  OUTCOME      DETAIL
nft          selected     libnftables 1.0.6
tun          unsupported  /dev/net/tun: modprobe tun

Services
SERVICE  ADDRESSES                                           PORTS  PROTOCOLS  DIALER       LIVING  FLOWS       UP     DOWN
web      web.internal,203.0.113.0/24,10.9.0.0/16 and 2 more  443    tcp        corp,direct       2     12  1.5 KiB  2.0 KiB

Counters that are not 0
dialRefused 1
resolver.queries 9
worker 0 was replaced 1 time

Drift: 1 mended
ip rule 9500: expected there, found missing
`);
});

test('what a client is told about a name, and by whom', async () => {
  expect((await weir(['dns', 'query', 'web.internal', ...at])).out).toBe(
    'NOERROR, authoritative, 0.4 ms\n' +
      'answered by assigned: web.internal matches web.internal, which web named\n' +
      'web.internal\t60\tA\t100.64.3.9\n',
  );
  const { out } = await weir(['dns', 'query', 'x & y.internal', 'aaaa', '--json', ...at]);
  expect(JSON.parse(out)).toMatchObject({
    name: 'x & y.internal',
    type: 'aaaa',
    resolver: 'assigned',
    services: ['web'],
  });
});

test('the names that have addresses', async () => {
  expect((await weir(['dns', 'names', ...at])).out).toBe(
    `NAME             IPV4        IPV6               PATTERN       SERVICES  UNUSED FOR  NOTE
web.internal     100.64.3.9  fd64:7765:6972::9  web.internal  web            1.2 s  configured
x.apps.internal  100.99.3.9  -                  -             -          1 h 0 min  no longer wanted; its own address was taken: other hosts may differ; also 100.64.3.8
`,
  );
  const one = await weir(['dns', 'names', '--json', '--limit', '1', ...at]);
  expect(JSON.parse(one.out)).toEqual([NAME]);
  expect(one.err).toBe('… not more than 1 names are listed; --limit shows more, up to 10000\n');
  expect((await weir(['dns', 'names', '--json', ...at])).err).toBe('');
  expect(await weir(['dns', 'names', '--limit', '0', ...at])).toMatchObject({ code: 2 });
  expect(await weir(['dns'])).toMatchObject({ code: 2 });
});

test('status over the socket, and for programs', async () => {
  const { code, out } = await weir(['status', ...at]);
  expect(code).toBe(0);
  expect(out).toMatch(/^weir 0\.1\.0, owner default, pid 4711, running, up \d+ d/);
  expect(JSON.parse((await weir(['status', '--json', ...at])).out)).toEqual(STATUS);
});

test('WEIR_ADMIN names the socket as well', async () => {
  expect(await weir(['status'], { environment: { WEIR_ADMIN: path } })).toMatchObject({ code: 0 });
});

test('flows as a table', async () => {
  const { out } = await weir(['flows', '--limit', '1', ...at]);
  expect(out).toBe(
    `STARTED   SOURCE          ORIGINAL        NAME          SERVICE  DIALER  UPSTREAM            RELAY        UP     DOWN   TIME  OUTCOME
${clock}  10.1.0.2:51234  100.64.3.9:443  web.internal  web      direct  [2001:db8::5]:8443  splice  1.5 KiB  3.0 MiB  1.5 s  closed
`,
  );
});

test('flows for programs: living, and recently ended', async () => {
  const living = JSON.parse((await weir(['flows', '--json', ...at])).out);
  expect(living.map((flow: { id: string }) => flow.id)).toEqual(['open-0', 'open-1', 'open-2']);
  const recent = JSON.parse((await weir(['flows', '--recent', '--json', '--limit', '1', ...at])).out);
  expect(recent).toEqual([{ ...FLOW, id: 'ended-0' }]);
});

test.each([
  [
    'lines for people',
    [],
    (text: string) =>
      expect(text).toBe(
        `${clock}  tcp 10.1.0.2:51234 -> 100.64.3.9:443 (web.internal)  web by direct  to [2001:db8::5]:8443  splice, 1.5 KiB up, 3.0 MiB down, 1.5 s  closed\n`,
      ),
  ],
  ['one object per line for programs', ['--json'], (text: string) => expect(JSON.parse(text)).toEqual(FLOW)],
])('flows --follow: %s, until a signal', async (_, options, check) => {
  const console = testConsole({ terminal: true });
  const running = runCommandLine(['flows', '--follow', ...options, ...at], console);
  const before = target.followers();
  while (target.followers() === before) await new Promise((resolve) => setTimeout(resolve, 5));
  target.end(FLOW);
  while (console.out() === '') await new Promise((resolve) => setTimeout(resolve, 5));
  console.send('SIGINT');
  expect(await running).toBe(0);
  check(console.out());
  expect(console.listeners('SIGINT')).toBe(0);
  while (target.followers() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
});

test('services', async () => {
  const { out } = await weir(['services', ...at]);
  expect(out).toContain('web.internal,203.0.113.0/24,10.9.0.0/16 and 2 more');
  expect(JSON.parse((await weir(['services', '--json', ...at])).out)).toEqual(STATUS.services);
});

test('reload says what changed', async () => {
  expect(await weir(['reload', ...at])).toEqual({ code: 0, out: 'added a; removed b, c\n', err: '' });
  expect(JSON.parse((await weir(['reload', '--json', ...at])).out)).toMatchObject({ generation: 4 });
});

test('a reload that is refused shows the faults of the file as check does', async () => {
  const fault = { file: 'weir.yaml', line: 3, column: 5, path: 'x', problem: 'no', allowed: 'yes', source: '    x: 1' };
  target.failure = new ConfigurationError([fault], { problem: 'weir.yaml has one fault.', remedy: 'Mend it.' });
  expect(await weir(['reload', ...at])).toEqual({
    code: 2,
    out: '',
    err: 'weir.yaml:3:5: no\n   3 |     x: 1\n     |     ^ allowed: yes\n\nweir: weir.yaml has one fault.\nMend it.\n',
  });
});

test('drain says how many flows are left', async () => {
  expect(await weir(['drain', ...at])).toMatchObject({ code: 0, out: 'the time for draining is over: 1 flow left\n' });
  expect(JSON.parse((await weir(['drain', '--json', ...at])).out)).toEqual({ remaining: 1 });
});

test('logs: the last lines, as people read them and as programs do', async () => {
  for (const n of [1, 2, 3]) log.info({ n }, 'counted');
  const { out } = await weir(['logs', '--limit', '2', ...at]);
  expect(out.replaceAll(/^\S+ /gm, '')).toBe('info  counted n=2\ninfo  counted n=3\n');
  const entries = (await weir(['logs', '--limit', '1', '--json', ...at])).out;
  expect(JSON.parse(entries)).toMatchObject({ level: 30, n: 3, msg: 'counted' });
  expect(await weir(['logs', '--limit', 'all', ...at])).toMatchObject({ code: 2 });
});

test.each([
  ['for people', [], /^\S+ info {2}before\n\S+ warn {2}after n=7\n$/],
  ['for programs', ['--json'], /^\{.*"before"\}\n\{.*"n":7,"msg":"after"\}\n$/],
])('logs --follow, %s: what is there and what comes, until a signal', async (_, options, form) => {
  log.info({}, 'before');
  const console = testConsole();
  const running = runCommandLine(['logs', '--follow', '--limit', '1', ...options, ...at], console);
  while (console.out() === '') await new Promise((resolve) => setTimeout(resolve, 5));
  log.warn({ n: 7 }, 'after');
  while (!console.out().includes('after')) await new Promise((resolve) => setTimeout(resolve, 5));
  console.send('SIGTERM');
  expect(await running).toBe(0);
  expect(console.out()).toMatch(form);
});
