/** The admin server and its client over a real Unix socket. */
import { once } from 'node:events';
import { existsSync, lstatSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { AdminClient } from '../../src/admin/client.ts';
import { LIMITS } from '../../src/admin/protocol.ts';
import { type AdminServer, startAdminServer } from '../../src/admin/server.ts';
import {
  AlreadyRunningError,
  ConfigurationError,
  HostChangeError,
  NotRunningError,
  UsageError,
  WeirError,
} from '../../src/api/errors.ts';
import { createLogger } from '../../src/observe/logger.ts';
import { FLOW, STATUS, testTarget, type TestTarget } from '../cli/engine-target.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-admin-'));
afterAll(() => rmSync(directory, { recursive: true }));

let path: string;
let target: TestTarget;
let server: AdminServer;
let client: AdminClient;
let lines: string[];
let count = 0;
const log = createLogger({ level: 'info', format: 'json', write: (line) => void lines.push(line) });

beforeEach(async () => {
  lines = [];
  log.level = 'info';
  path = join(directory, `admin-${count++}.sock`);
  target = testTarget();
  server = await startAdminServer(target, path, log);
  client = new AdminClient({ path, owner: 'default', others: [] });
});
afterEach(() => server.close());

/** A request as curl would make it. */
async function raw(method: string, url: string, body?: string) {
  const sent = request({ socketPath: path, method, path: url, agent: false });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return { status: response.statusCode, type: response.headers['content-type'], text };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('the socket belongs to its owner alone', () => {
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(lstatSync(path).isSocket()).toBe(true);
});

test('status, services, flows and recent flows arrive as they are', async () => {
  expect(await client.status()).toEqual(STATUS);
  expect(await client.services()).toEqual(STATUS.services);
  expect((await client.flows(2)).map((flow) => flow.id)).toEqual(['open-0', 'open-1']);
  expect((await client.recentFlows(100)).map((flow) => flow.id)).toHaveLength(5);
});

test('reload and drain are passed on', async () => {
  expect(await client.reload()).toEqual({ added: ['a'], changed: [], removed: ['b', 'c'], generation: 4 });
  expect(await client.drain()).toEqual({ remaining: 1 });
  expect(target.calls).toEqual(['reload', 'drain']);
});

test('a refused configuration comes back with all its faults', async () => {
  const fault = { file: 'weir.yaml', line: 3, column: 5, path: 'x', problem: 'p', allowed: 'a', source: 's' };
  target.failure = new ConfigurationError([fault], { problem: 'weir.yaml has one fault.', remedy: 'Mend it.' });
  const refusal = await client.reload().catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(ConfigurationError);
  expect((refusal as ConfigurationError).faults).toEqual([fault]);
});

test('other failures keep their code; what is no WeirError is logged and gets one', async () => {
  target.failure = new HostChangeError({ problem: 'nft said no.', remedy: 'Look.' });
  await expect(client.reload()).rejects.toMatchObject({ code: 'WEIR_HOST_CHANGE', problem: 'nft said no.' });
  target.failure = new TypeError('x is not a function');
  await expect(client.drain()).rejects.toMatchObject({
    code: 'WEIR_UNKNOWN',
    problem: expect.stringContaining('x is not'),
  });
  expect(lines.some((line) => line.includes('admin request failed'))).toBe(true);
});

test('ready answers 200 while running and 503 otherwise', async () => {
  expect(await raw('GET', '/ready')).toMatchObject({ status: 200 });
  await server.close();
  server = await startAdminServer(testTarget({ ...STATUS, state: 'draining' }), path, log);
  expect(await raw('GET', '/ready')).toMatchObject({ status: 503 });
  expect(await client.ready()).toEqual({ ready: false, state: 'draining', transparent: true });
});

test('metrics are Prometheus text with the counters of the report', async () => {
  const { status, type, text } = await raw('GET', '/metrics');
  expect(status).toBe(200);
  expect(type).toContain('text/plain');
  for (const line of [
    'weir_ready 1',
    'weir_info{version="0.1.0",owner="default"} 1',
    'weir_interceptor_selected{interceptor="nft"} 1',
    'weir_interceptor_selected{interceptor="tun"} 0',
    'weir_service_active_flows{service="web"} 2',
    'weir_service_flows_total{service="web"} 12',
    'weir_service_bytes_total{service="web",direction="down"} 2048',
    'weir_worker_deaths_total{worker="0"} 1',
    'weir_dial_refused_total 1',
    'weir_over_limit_total 0',
    'weir_resolver_queries_total 9',
    'weir_drift_repaired_total 1',
    'weir_dns_queries_total{type="A",outcome="NOERROR"} 8',
    'weir_dns_queries_total{type="other",outcome="none"} 1',
    '# TYPE weir_dns_upstream_duration_seconds histogram',
    'weir_dns_upstream_duration_seconds_bucket{server="udp://192.0.2.53:53",dialer="",le="0.001"} 0',
    'weir_dns_upstream_duration_seconds_bucket{server="udp://192.0.2.53:53",dialer="",le="2.5"} 2',
    'weir_dns_upstream_duration_seconds_bucket{server="udp://192.0.2.53:53",dialer="",le="+Inf"} 3',
    'weir_dns_upstream_duration_seconds_count{server="udp://192.0.2.53:53",dialer=""} 3',
    'weir_dns_upstream_duration_seconds_sum{server="udp://192.0.2.53:53",dialer=""} 3.004',
    'weir_dns_upstream_failures_total{server="udp://192.0.2.53:53",dialer="",kind="timeout"} 1',
    'weir_dns_upstream_up{server="udp://192.0.2.53:53",dialer=""} 0',
    'weir_dns_cache_entries 2',
    'weir_dns_pool_taken{range="100.64.0.0/10"} 4',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
  // A scrape does not add to the one before.
  expect((await raw('GET', '/metrics')).text).toContain('weir_service_flows_total{service="web"} 12\n');
});

test('the log level changes while it runs, for children as well', async () => {
  const child = log.child({ part: 'x' });
  child.debug({}, 'before');
  expect(await client.setLogLevel('debug')).toEqual({ level: 'debug' });
  child.debug({}, 'after');
  expect(lines.join('')).not.toContain('before');
  expect(lines.join('')).toContain('after');
  await expect(client.setLogLevel('loud')).rejects.toBeInstanceOf(UsageError);
});

test.each([
  ['GET', '/flows?limit=0', 400, 'out of range'],
  ['GET', '/flows?limit=99999999', 400, 'out of range'],
  ['GET', '/flows?limit=x', 400, 'out of range'],
  ['GET', '/nothing', 404, 'There is no GET /nothing.'],
  ['DELETE', '/status', 405, 'Known: GET /status.'],
  ['POST', '/log-level', 400, 'is no log level', '{"level":7}'],
  ['POST', '/log-level', 400, 'The body is no JSON', '{'],
  ['POST', '/log-level', 400, 'is no log level', 'null'],
  ['POST', '/log-level', 400, 'too large', `"${'x'.repeat(LIMITS.bodyBytes)}"`],
])('%s %s answers %i', async (method, url, status, text, body?: string) => {
  const answer = await raw(method, url, body);
  expect(answer.status).toBe(status);
  expect(answer.text).toContain(text);
});

test('bytes that are no HTTP end that connection and nothing else', async () => {
  const socket = connect(path);
  socket.end('\u0000\u0001garbage\r\n\r\n');
  socket.resume();
  await once(socket, 'close');
  expect(await client.status()).toEqual(STATUS);
});

test('followers get each flow as it ends, until they go away', async () => {
  const abort = new AbortController();
  const seen: unknown[] = [];
  const following = (async () => {
    for await (const line of client.follow(abort.signal)) {
      seen.push(line);
      if (seen.length === 2) abort.abort();
    }
  })();
  await until(() => target.followers() === 1);
  target.end(FLOW);
  target.end({ ...FLOW, id: 'next' });
  await following;
  expect(seen).toEqual([FLOW, { ...FLOW, id: 'next' }]);
  await until(() => target.followers() === 0);
});

test('a follower that does not read loses records and is told how many', async () => {
  const socket = connect(path);
  socket.write('GET /flows/follow HTTP/1.1\r\nhost: x\r\n\r\n');
  await until(() => target.followers() === 1);
  socket.pause();
  const before = process.memoryUsage().arrayBuffers;
  const many = 20_000;
  const name = 'x'.repeat(200);
  for (let i = 0; i < many; i++) target.end({ ...FLOW, id: String(i), name });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString()));
  socket.resume();
  // All that was kept for it has arrived; the next record brings the number that was left out.
  await until(() => text.includes('"id":"0"'));
  while (!text.includes('"lost":')) {
    target.end(FLOW);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const lost = Number(/"lost":(\d+)/.exec(text)?.[1]);
  expect(lost).toBeGreaterThan(0);
  expect(lines.filter((line) => line.includes('too slow')).length).toBeGreaterThan(0);
  socket.destroy();
});

test('a follower of the log that does not read is told so once, in the log', async () => {
  const socket = connect(path);
  socket.write('GET /logs/follow HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(socket, 'data');
  socket.pause();
  const text = 'x'.repeat(1000);
  for (let n = 0; n < 10_000; n++) log.info({ n }, text);
  expect(lines.filter((line) => line.includes('too slow'))).toHaveLength(1);
  socket.destroy();
});

test('a logger of an embedder keeps no lines', async () => {
  const plain = { debug() {}, info() {}, warn() {}, error() {}, child: () => plain };
  const where = join(directory, 'plain.sock');
  const other = await startAdminServer(target, where, plain);
  const asking = new AdminClient({ path: where, owner: 'default', others: [] });
  await expect(asking.logs(1)).rejects.toBeInstanceOf(UsageError);
  await expect(asking.followLogs(1, new AbortController().signal).next()).rejects.toBeInstanceOf(UsageError);
  await other.close();
});

test('there is a bound on followers', async () => {
  const sockets = Array.from({ length: LIMITS.followers }, () => {
    const socket = connect(path);
    socket.write('GET /flows/follow HTTP/1.1\r\nhost: x\r\n\r\n');
    return socket;
  });
  for (const socket of sockets) await once(socket, 'data');
  const abort = new AbortController();
  await expect(client.follow(abort.signal).next()).rejects.toMatchObject({ code: 'WEIR_LIMIT' });
  for (const socket of sockets) socket.destroy();
});

test('close removes the socket, ends followers and may be called twice', async () => {
  const abort = new AbortController();
  const following = client.follow(abort.signal);
  const first = following.next();
  await until(() => target.followers() === 1);
  await Promise.all([server.close(), server.close()]);
  expect((await first).done).toBe(true);
  expect(existsSync(path)).toBe(false);
  expect(target.followers()).toBe(0);
});

test('a socket that nobody listens on is replaced', async () => {
  const stale = join(directory, 'stale.sock');
  // Node removes the file when a server closes; a killed process leaves it. A moved one stands for that.
  const dead = createServer().listen(`${stale}.moving`);
  await once(dead, 'listening');
  const { renameSync } = await import('node:fs');
  renameSync(`${stale}.moving`, stale);
  dead.close();
  await once(dead, 'close');
  expect(lstatSync(stale).isSocket()).toBe(true);
  const second = await startAdminServer(target, stale, log);
  expect(await new AdminClient({ path: stale, owner: 'default' }).status()).toEqual(STATUS);
  await second.close();
});

test('a socket that a living process listens on is left alone', async () => {
  await expect(startAdminServer(testTarget(), path, log)).rejects.toBeInstanceOf(AlreadyRunningError);
  expect(await client.status()).toEqual(STATUS);
});

test('a file that is no socket is left alone', async () => {
  const file = join(directory, 'precious');
  writeFileSync(file, 'data');
  await expect(startAdminServer(target, file, log)).rejects.toBeInstanceOf(HostChangeError);
  expect(statSync(file).size).toBe(4);
});

test.each([
  ['a directory that does not exist', () => join(directory, 'nowhere', 'admin.sock')],
  ['a path that is too long', () => join(directory, 'x'.repeat(120))],
])('%s is an error with a remedy', async (_, where) => {
  await expect(startAdminServer(target, where(), log)).rejects.toMatchObject({
    code: 'WEIR_HOST_CHANGE',
    remedy: expect.stringContaining('admin'),
  });
});

test('a client without an instance says so, and which others there are', async () => {
  const absent = { path: join(directory, 'absent.sock'), owner: 'default' };
  await expect(new AdminClient(absent).status()).rejects.toBeInstanceOf(NotRunningError);
  await expect(new AdminClient({ ...absent, others: ['default', 'edge'] }).status()).rejects.toMatchObject({
    remedy: 'Name another owner with --owner; known here: edge.',
  });
});

test('a client of something that is no Weir ends with an error', async () => {
  const strange = join(directory, 'strange.sock');
  const other = createServer((socket) => socket.end('HTTP/1.1 418 teapot\r\ncontent-length: 2\r\n\r\nhi')).listen(
    strange,
  );
  await once(other, 'listening');
  const refusal = await new AdminClient({ path: strange, owner: 'default' }).status().catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(WeirError);
  expect(refusal).toMatchObject({ code: 'WEIR_ADMIN' });
  other.close();
});
