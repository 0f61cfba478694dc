import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { nftTable } from '@weir/core/sys';
import {
  attempt,
  enterFreshNamespace,
  requires,
  shell,
  SILENT,
  SteeringProcess,
  TEST_NUMBERS,
} from '@weir/core/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { nft } from '../src/index.ts';
import { instance, signal, state } from './instance.ts';

const V4 = { address: '203.0.113.7', port: 443 };
const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] as const };

/** Resolves when it steers, in the namespace where this thread is. */
function steeringProcess(onCrash: string, env: NodeJS.ProcessEnv = {}): Promise<SteeringProcess> {
  return new SteeringProcess(new URL('peers/steering-process.ts', import.meta.url), [onCrash], env).ready();
}

function cleanUp(): Promise<readonly string[]> {
  return nft.cleanUp({ owner: 'default', numbers: TEST_NUMBERS, log: SILENT });
}

const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('after SIGKILL', () => {
  test('open: the kernel removes the table, what is left steers nothing, cleanUp takes it away', async () => {
    enterFreshNamespace({ uplink: true });
    const before = state();
    await using child = await steeringProcess('open');
    expect(attempt(V4)).toBe('connected');
    await child.kill();
    await expect.poll(() => nftTable('inet', 'weir_default'), { timeout: 5000 }).toBeUndefined();
    expect(attempt(V4)).toBe('pending');
    const removed = await cleanUp();
    expect(removed).toHaveLength(8);
    expect(state()).toBe(before);
  });

  test('open, with the nft program: the table stays for cleanUp', async () => {
    enterFreshNamespace({ uplink: true });
    const before = state();
    await using child = await steeringProcess('open', { WEIR_NFT_LIBRARY: 'off' });
    await child.kill();
    expect(nftTable('inet', 'weir_default')).toMatchObject({ owned: false, dormant: false });
    expect(await cleanUp()).toHaveLength(9);
    expect(state()).toBe(before);
  });

  test('closed: what was captured stays blocked, and nothing else, until cleanUp', async () => {
    enterFreshNamespace({ uplink: true });
    const before = state();
    await using child = await steeringProcess('closed');
    await child.kill();
    expect(attempt(V4)).toBe('ECONNREFUSED');
    expect(attempt({ address: '2001:db8:7::7', port: 443 })).toBe('ECONNREFUSED');
    expect(attempt({ ...V4, port: 444 })).toBe('pending');
    await cleanUp();
    expect(attempt(V4)).toBe('pending');
    expect(state()).toBe(before);
  });

  test('a living owner’s table is not removed by cleanUp of another process', async () => {
    enterFreshNamespace({ uplink: true });
    await using child = await steeringProcess('open');
    await expect(cleanUp()).rejects.toThrow(/not permitted/);
    expect(nftTable('inet', 'weir_default')).toMatchObject({ owned: true, dormant: false });
    await child.kill();
  });
});

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('on an uneasy host', () => {
  test('an owner table outlives that others change the ruleset all the time', { timeout: 60_000 }, async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = instance();
    await weir.start(weir.input([WEB]));
    const script =
      'i=0; while [ $i -lt 400 ]; do nft add table inet other; nft delete table inet other; i=$((i+1)); done';
    const others = spawn('sh', ['-c', script], { stdio: 'ignore' });
    started.push(others);
    let updates = 0;
    for (; others.exitCode === null && updates < 400; updates++) {
      const prefixes = Array.from({ length: 20 + (updates % 15) }, (_, i) => `198.${18 + (i % 2)}.${i}.0/24`);
      // eslint-disable-next-line no-await-in-loop -- one after the other, as an engine does
      await weir.interceptor.update(weir.input([WEB, { prefixes }], {}, { generation: updates + 2 }), signal);
      // eslint-disable-next-line no-await-in-loop -- belongs to this update
      expect(await weir.interceptor.verify(signal)).toEqual([]);
      // eslint-disable-next-line no-await-in-loop -- lets the other process's exit be noticed
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(updates).toBeGreaterThan(20);
    expect(nftTable('inet', 'weir_default')).toMatchObject({ owned: true, dormant: false });
    others.kill('SIGKILL');
    if (others.exitCode === null && others.signalCode === null) await once(others, 'exit');
  });

  test('a probe without CAP_NET_ADMIN says so, with the remedy', () => {
    enterFreshNamespace();
    const script = `
      import { nft } from '${new URL('../src/index.ts', import.meta.url).href}';
      const interceptor = nft.create({ owner: 'default' }, {});
      console.log(JSON.stringify(await interceptor.probe(new AbortController().signal)));`;
    const node = `${process.execPath} --conditions=source --input-type=module -`;
    const said = shell(`cd ${import.meta.dirname}; setpriv --bounding-set -net_admin --inh-caps -all ${node}`, script);
    expect(JSON.parse(said)).toMatchObject({
      verdict: 'unsupported',
      missing: [{ kind: 'capability', name: 'CAP_NET_ADMIN' }],
    });
  });

  test.skipIf(requires('userns'))(
    'in the user namespace of an ordinary user everything works',
    { timeout: 30_000 },
    () => {
      const script = `
      import { arrival, enterFreshNamespace } from '@weir/core/testing';
      import { instance, signal, state } from '${new URL('instance.ts', import.meta.url).href}';
      enterFreshNamespace({ uplink: true });
      const before = state();
      const weir = instance();
      const probe = await weir.interceptor.probe(signal);
      await weir.start(weir.input([{ prefixes: ['203.0.113.0/24'] }]));
      const arrived = arrival(weir.listeners[4], { address: '203.0.113.7', port: 443 });
      const drift = await weir.interceptor.verify(signal);
      await weir.interceptor.stop();
      console.log(JSON.stringify({ verdict: probe.verdict, arrived, drift, same: state() === before }));`;
      const node = `${process.execPath} --conditions=source --input-type=module -`;
      const drop = process.getuid?.() === 0 ? 'setpriv --reuid 65534 --regid 65534 --clear-groups' : '';
      const said = shell(`cd ${import.meta.dirname}; ${drop} unshare -Urnm ${node}`, script);
      expect(JSON.parse(said)).toEqual({
        verdict: 'supported',
        arrived: { address: '203.0.113.7', port: 443 },
        drift: [],
        same: true,
      });
    },
  );
});
