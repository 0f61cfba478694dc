import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { attempt, enterFreshNamespace, requires, shell, SILENT, TEST_NUMBERS } from '@weir/core/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { ebpfSklookup } from '../src/index.ts';
import { Instance, state } from './instance.ts';

const V4 = { address: '203.0.113.7', port: 443 };
const V6 = { address: '2001:db8:7::1', port: 443 };
const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] as const };
const CLEAN_UP = { owner: 'default', numbers: TEST_NUMBERS, log: SILENT };

const SCRIPT = fileURLToPath(new URL('peers/steering-process.ts', import.meta.url));
const started: ChildProcess[] = [];

/** In the namespace where this thread is; resolves when it steers. */
async function steeringProcess(onCrash: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--conditions=source', SCRIPT, onCrash], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  started.push(child);
  const [first] = (await once(child.stdout, 'data')) as [Buffer];
  expect(first.toString()).toContain('ready');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('after SIGKILL', () => {
  test('open: device, addresses and routes go by themselves, what is left steers nothing, cleanUp takes it away', async () => {
    enterFreshNamespace({ uplink: true });
    const before = state();
    const child = await steeringProcess('open');
    expect(attempt(V4)).toBe('connected');
    expect(attempt(V6)).toBe('connected');
    await kill(child);
    await expect.poll(() => shell('ip link show weirsk0 2>&1 || true'), { timeout: 5000 }).toContain('does not exist');
    expect(attempt(V4)).toBe('pending');
    expect(attempt(V6)).toBe('pending');
    expect(shell('ip route show table all; ip -6 route show table all')).not.toContain('proto 87');
    expect(await ebpfSklookup.cleanUp(CLEAN_UP)).toEqual([
      'ip rules 9500-9515 (8 rules)',
      'ip -6 rules 9500-9515 (9 rules)',
    ]);
    expect(state()).toBe(before);
  });

  test('closed: what was captured stays blocked, and nothing else, until cleanUp', async () => {
    enterFreshNamespace({ uplink: true });
    const before = state();
    await kill(await steeringProcess('closed'));
    // IPv4 waits in vain, since a refusal finds no way back; IPv6 is refused.
    expect(attempt(V4)).toBe('pending');
    expect(shell('ip route get 203.0.113.7 ipproto tcp dport 443')).toContain('local 203.0.113.7 dev lo');
    expect(attempt(V6)).toBe('ECONNREFUSED');
    expect(shell('ip route get 203.0.113.7 ipproto tcp dport 444')).toContain('dev up0');
    expect(attempt({ ...V6, port: 444 })).toBe('pending');
    expect(await ebpfSklookup.cleanUp(CLEAN_UP)).toContain('device weirsk0');
    expect(attempt(V6)).toBe('pending');
    expect(state()).toBe(before);
  });

  test('a successor starts beside what is left, once that has been cleaned up', async () => {
    enterFreshNamespace({ uplink: true });
    for (const how of ['open', 'closed']) {
      // eslint-disable-next-line no-await-in-loop -- one life after the other
      await kill(await steeringProcess(how));
      await ebpfSklookup.cleanUp(CLEAN_UP);
      await using weir = new Instance();
      await weir.start(weir.input([WEB]));
      expect(attempt(V4)).toBe('connected');
    }
  });
});

describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('on an uneasy host', () => {
  test('strict rp_filter, and IPv4 forwarding on', async () => {
    for (const value of [0, 1, 2]) {
      enterFreshNamespace({ uplink: true });
      shell(`for s in all default up0 lo; do echo ${value} > /proc/sys/net/ipv4/conf/$s/rp_filter; done
        echo 1 > /proc/sys/net/ipv4/ip_forward`);
      // eslint-disable-next-line no-await-in-loop -- a namespace each
      await using weir = new Instance();
      // eslint-disable-next-line no-await-in-loop -- a namespace each
      await weir.start(weir.input([WEB]));
      expect(attempt(V4)).toBe('connected');
      expect(attempt(V6)).toBe('connected');
    }
  });
});
