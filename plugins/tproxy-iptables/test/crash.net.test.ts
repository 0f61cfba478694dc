import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
import { tproxyIptables } from '../src/index.ts';
import { instance, saved, signal, state, VARIANTS } from './variants.ts';

const V4 = { address: '203.0.113.7', port: 443 };
const V6 = { address: '2001:db8:7::7', port: 443 };
const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] as const };
const SCRIPT = new URL('peers/steering-process.ts', import.meta.url);

function cleanUp(): Promise<readonly string[]> {
  return tproxyIptables.cleanUp({ owner: 'default', numbers: TEST_NUMBERS, log: SILENT });
}

const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

describe.skipIf(requires('namespaces', 'iptables-nft', 'iptables-legacy', 'ipv6'))('after SIGKILL', () => {
  for (const variant of VARIANTS) {
    test(`${variant}: what was captured stays blocked, and nothing else, until cleanUp`, async () => {
      enterFreshNamespace({ uplink: true });
      const before = state();
      await using child = await new SteeringProcess(SCRIPT, [variant]).ready();
      expect(attempt(V4)).toBe('connected');
      await child.kill();
      // Silence: the packets do not leave the host, since they are still delivered to a point where nobody listens.
      expect(attempt(V4)).toBe('pending');
      expect(attempt(V6)).toBe('pending');
      expect(shell(`iptables-${variant}-save`)).toContain('-j TPROXY');
      expect(await cleanUp()).toHaveLength(12);
      expect(state()).toBe(before);
    });

    test(`${variant}: a change that outlives Weir is waited for, and leaves nothing`, async () => {
      enterFreshNamespace({ uplink: true });
      const before = state();
      const folder = mkdtempSync(join(tmpdir(), 'weir-slow-iptables-'));
      try {
        const marker = join(folder, 'has-all-it-needs');
        const name = `iptables-${variant}-restore`;
        const script = `#!/bin/sh\ncat > ${folder}/input; touch ${marker}; sleep 1; exec env PATH=/usr/sbin:/sbin:/usr/bin:/bin ${name} "$@" < ${folder}/input\n`;
        writeFileSync(join(folder, name), script, { mode: 0o755 });
        await using child = new SteeringProcess(SCRIPT, [variant], { PATH: `${folder}:${process.env['PATH']}` });
        await expect.poll(() => existsSync(marker), { interval: 5, timeout: 20_000 }).toBe(true);
        await child.kill();
        expect(saved(variant)).not.toContain('weir');
        expect((await cleanUp()).join('\n')).toContain(`iptables chains weir/default/* in mangle (${variant})`);
        expect(state()).toBe(before);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }
});

describe.skipIf(requires('namespaces', 'iptables-nft', 'iptables-legacy', 'ipv6'))('on an uneasy host', () => {
  for (const variant of VARIANTS) {
    test(`${variant}: others change the same tables all the time`, { timeout: 60_000 }, async () => {
      enterFreshNamespace({ uplink: true });
      await using weir = instance(variant);
      await weir.start(weir.input([WEB]));
      const command = `iptables-${variant} -w 5 -t mangle`;
      const script = `i=0; while [ $i -lt 150 ]; do ${command} -A FORWARD -j ACCEPT; ${command} -D FORWARD -j ACCEPT; i=$((i+1)); done`;
      const others = spawn('sh', ['-c', script], { stdio: 'ignore' });
      started.push(others);
      let updates = 0;
      for (; others.exitCode === null && updates < 100; updates++) {
        const prefixes = Array.from({ length: 20 + (updates % 15) }, (_, i) => `198.${18 + (i % 2)}.${i}.0/24`);
        // eslint-disable-next-line no-await-in-loop -- one after the other, as an engine does
        await weir.interceptor.update(weir.input([WEB, { prefixes }], {}, { generation: updates + 2 }), signal);
        // eslint-disable-next-line no-await-in-loop -- belongs to this update
        expect(await weir.interceptor.verify(signal)).toEqual([]);
      }
      expect(updates).toBeGreaterThan(5);
      if (others.exitCode === null) await once(others, 'exit');
      expect(saved(variant)).not.toContain('-A FORWARD');
    });
  }
});
