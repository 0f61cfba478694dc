/** docs/embedding.md, and what it promises about the process around Weir. */
import { requires, startPeer, TestNetwork, type TestHost } from '@weir/core/testing';
import { copyFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DocumentedPlace } from './place.ts';

const SURROUNDINGS = new URL('programs/surroundings.ts', import.meta.url);

describe.skipIf(requires('namespaces', 'nft'))('docs/embedding.md', () => {
  let place: DocumentedPlace;
  let net: TestNetwork;
  let host: TestHost;

  beforeAll(async () => {
    place = new DocumentedPlace('embedding.md');
    net = await TestNetwork.create();
    host = await net.host('client');
    const server = await net.host('server');
    await net.link(host, server, { ipv4: ['10.1.0.2/24', '10.1.0.1/24'] });
    await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'first']);
    await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9002', '--name', 'second']);
    await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9001', '--mode', 'echo']);
  }, 120_000);

  afterAll(async () => {
    await net?.[Symbol.asyncDispose]();
    place?.[Symbol.dispose]();
  });

  async function run(program: string): Promise<string> {
    const before = await host.state();
    const result = await host.run([process.execPath, place.path(program)], { timeoutMs: 20_000 });
    expect(result.stderr).toBe('');
    expect(result.code).toBe(0);
    expect(await host.state()).toBe(before);
    return result.stdout;
  }

  test('the first program starts, watches, reloads and stops', { timeout: 30_000 }, async () => {
    const lines = (await run('dist/one.js')).trim().split('\n');
    expect(lines.filter((line) => !line.startsWith('opened') && !line.startsWith('closed'))).toEqual([
      'selection: nft',
      'ready: running, generation known',
      'answered by first',
      'reloaded: web',
      'answered by second',
      'status: running, 1 service',
      'stopped: in order',
    ]);
    expect(lines.filter((line) => line === 'opened: 203.0.113.7:80')).toHaveLength(2);
    // The listener was taken away before the second flow.
    expect(lines.filter((line) => line.startsWith('closed: web'))).toEqual(['closed: web closed, with bytes']);
  });

  test('what is refused says so, and an aborted start leaves nothing', { timeout: 30_000 }, async () => {
    const [refused, aborted] = (await run('dist/refused.js')).split('\n');
    expect(refused).toBe('WEIR_CONFIGURATION: configuration() has one fault.');
    expect(aborted).toBe('start: changed my mind');
  });

  test('two owners in one process', { timeout: 30_000 }, async () => {
    expect((await run('dist/two.js')).trim().split('\n')).toEqual([
      'blue: first',
      'green: second',
      'green: second',
      'states: stopped, running',
    ]);
  });

  test('nothing of the process changes but what the page lists', { timeout: 30_000 }, async () => {
    copyFileSync(SURROUNDINGS, place.path('surroundings.ts'));
    type Surroundings = { readonly listeners: Readonly<Record<string, number>> };
    const { before, during, after, ...seen } = JSON.parse(await run('surroundings.ts')) as Record<
      'before' | 'during' | 'after',
      Surroundings
    >;
    const exit = (before.listeners['exit'] ?? 0) + 1;
    expect(during).toEqual({ ...before, listeners: { ...before.listeners, exit } });
    expect(after).toEqual(before);
    expect(seen).toEqual({
      logged: ['a listener failed'],
      late: 'WEIR_NOT_RUNNING',
      error: null,
      openedFirst: true,
      same: true,
      outcome: [null, 'closed'],
      drift: 'repaired',
      order: ['flow-opened', 'flow-closed', 'drift', 'draining', 'stopping', 'stopped'],
    });
  });
});
