/** `worker-cpus`: the threads of a running Weir stand where they were put, and only those of workers are put anywhere. */
import { requires, WeirProcess } from '@weir/core/testing';
import { allowedProcessors, processorsText } from '@weir/core/sys';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadScene, scriptCommand } from './load-scene.ts';

/** `Cpus_allowed_list` of the threads of a process, by what they are called. */
function placesOf(pid: number): ReadonlyMap<string, readonly string[]> {
  const places = new Map<string, string[]>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
    const name = /^Name:\s+(.*)$/m.exec(status)?.[1] ?? '';
    const allowed = /^Cpus_allowed_list:\s+(.*)$/m.exec(status)?.[1] ?? '';
    places.set(name, [...(places.get(name) ?? []), allowed]);
  }
  return places;
}

describe.skipIf(requires('namespaces', 'nft'))('worker-cpus', () => {
  test('places workers in turn, also after a death, and nothing else', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const { client } = scene;
    const all = allowedProcessors();
    const listed = all.toReversed().slice(0, 2);
    const expected = [0, 1, 2].map((worker) => listed[worker % listed.length] as number);
    const document = {
      interceptor: 'nft',
      workers: 3,
      'worker-cpus': listed.join(','),
      log: { level: 'error' },
      services: [{ name: 'web', addresses: ['203.0.113.0/24'], dialer: 'direct' }],
    };
    writeFileSync(client.path('/run/embedded.json'), JSON.stringify(document));
    const weir = client.spawn(scriptCommand('embedded-weir', ['/run/embedded.json']));
    await weir.waitFor(/"ready":true/, 60_000);
    const stand = (): void => {
      for (const [name, places] of placesOf(weir.pid)) {
        const worker = /^weir-splice-(\d+)$/.exec(name)?.[1];
        const place = worker === undefined ? processorsText(all) : String(expected[Number(worker)]);
        expect([name, ...new Set(places)]).toEqual([name, place]);
      }
    };
    expect([...placesOf(weir.pid).keys()].filter((name) => name.startsWith('weir-splice-'))).toHaveLength(3);
    stand();

    weir.stdin.write('crash 1\n');
    const report = async (): Promise<string> => {
      weir.stdin.write('status\n');
      await new Promise((resolve) => setTimeout(resolve, 50));
      return weir.stdout.trim().split('\n').at(-1) ?? '';
    };
    await expect.poll(report, { timeout: 10_000 }).toMatch(/"state":"running","activeFlows":\d+,"deaths":1/);
    stand();
    const { workers } = JSON.parse(await report()) as { readonly workers: readonly { readonly cpu?: number }[] };
    expect(workers.map(({ cpu }) => cpu)).toEqual(expected);
    weir.stdin.write('stop\n');
    await weir.waitFor(/"stopped":true/);

    // On the command line: one that is not there ends the start before anything is changed, and any that is, is shown.
    const services = document.services;
    await using wrong = WeirProcess.launch(client, { config: { services, interceptor: 'nft', 'worker-cpus': 8191 } });
    expect(await wrong.process.waitForExit(30_000)).toMatchObject({ code: 2 });
    expect(wrong.process.stderr).toContain(
      `worker-cpus names processor 8191, which Weir may not use here: it may use ${processorsText(all)}.`,
    );
    expect(wrong.leftInStateDirectory()).toEqual([]);
    const right = await scene.start({ services, 'worker-cpus': 'auto' });
    expect((await right.command('status')).stdout).toContain(`on 1 worker, by number on processor ${all[0]}\n`);
  });
});
