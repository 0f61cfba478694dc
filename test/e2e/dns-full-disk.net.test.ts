/** A disk that is full of something else: names go on being answered, it is said and counted, and mended when there is room. */
import { requires, WeirProcess } from '@weir/core/testing';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadScene } from './load-scene.ts';

const NAMES = 1000;

test.skipIf(requires('namespaces', 'nft', 'dig'))(
  'names are answered while their map cannot be written, and written down when it can',
  { timeout: 120_000 },
  async () => {
    await using scene = await loadScene();
    const { client } = scene;
    await client.check(['sh', '-c', 'mkdir /run/small && mount -t tmpfs -o size=32k tmpfs /run/small']);
    const config = {
      interceptor: 'nft',
      log: { level: 'info', format: 'json', flows: 'off' },
      resolver: { test: 'off', map: '/run/small/names', ttl: '1s', keep: '20s' },
      services: [{ name: 'all', addresses: ['*.full.internal'], ports: [80], dialer: 'reset' }],
    };
    const names = Array.from({ length: NAMES }, (_, i) => `n${i}.full.internal`);
    writeFileSync(client.path('/run/names'), names.map((name) => `${name} A\n`).join(''));
    const ask = async (): Promise<readonly string[]> =>
      (
        await client.check(['dig', '@127.0.0.1', '+short', '+tries=1', '+time=5', '-f', '/run/names'], {
          timeoutMs: 60_000,
        })
      )
        .trim()
        .split('\n');
    const map = (): string => readFileSync(client.path('/run/small/names'), 'latin1');

    await using weir = await WeirProcess.start(client, { config });
    const told = await ask();
    expect(new Set(told).size).toBe(NAMES);
    const { counters } = (await weir.admin.status()).resolver;
    expect(counters['mapErrors']).toBeGreaterThan(0);
    expect(counters['responsesServfail']).toBe(0);
    // Once, and not for each name.
    const lines = weir.process.stderr.split('\n').filter((line) => line.includes('cannot be written down'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/ENOSPC|only \d+ of \d+ bytes/);
    expect(map().length).toBeLessThanOrEqual(32 * 1024);
    expect(await ask()).toEqual(told);

    await client.check(['mount', '-o', 'remount,size=4m', '/run/small']);
    await expect
      .poll(() => names.filter((name) => map().includes(` ${name} `)).length, { timeout: 20_000 })
      .toBe(NAMES);
    weir.process.kill('SIGKILL');
    await weir.process.waitForExit(20_000);
    await using again = await WeirProcess.start(client, { config });
    expect((await again.admin.status()).resolver.counters['restored']).toBe(NAMES);
    expect(await ask()).toEqual(told);
  },
);
