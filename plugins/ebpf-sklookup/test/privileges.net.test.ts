import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { UnsupportedError } from '@weir/core';
import { enterFreshNamespace, requires } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { VerifierError, SkLookup } from '../src/sk-lookup.ts';

const SCRIPT = fileURLToPath(new URL('peers/probing-process.ts', import.meta.url));
const PROBE = `exec '${process.execPath}' --conditions=source '${SCRIPT}'`;

/** A tun device that everybody may open, in a mount namespace of its own. */
const OPEN_TUN =
  'mount -t tmpfs -o mode=755 tmpfs /dev/net; mknod -m 0666 /dev/net/tun c 10 200; ip link set lo up; cd /';

/** As an ordinary user with these capabilities; util-linux setpriv(1). */
function asUser(capabilities: readonly string[]): string {
  const sets = ['inh-caps', 'ambient-caps', 'bounding-set'].map((set) =>
    [`--${set}=-all`, ...capabilities.map((name) => `+${name}`)].join(','),
  );
  return `setpriv --reuid 65534 --regid 65534 --clear-groups ${sets.join(' ')} `;
}

interface Outcome {
  readonly probe: { readonly verdict: string; readonly missing?: ReadonlyArray<{ name: string; remedy: string }> };
  readonly captured: readonly unknown[];
}

function outcome(command: string): Outcome {
  const { stdout, stderr, status } = spawnSync('unshare', ['-nm', 'sh', '-ec', command], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  if (status !== 0) throw new Error(`${command}: exit ${status}\n${stdout}${stderr}`);
  return JSON.parse(stdout) as Outcome;
}

describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('privileges', () => {
  test('CAP_BPF and CAP_NET_ADMIN are enough for an ordinary user', () => {
    const { probe, captured } = outcome(`${OPEN_TUN}; ${asUser(['bpf', 'net_admin'])}sh -c "${PROBE}"`);
    expect(probe.verdict).toBe('supported');
    expect(captured).toEqual([
      { address: '203.0.113.7', port: 443 },
      { address: '2001:db8:7::1', port: 443 },
    ]);
  });

  test('each one alone is not, and the other one is named', () => {
    for (const [has, lacks] of [
      ['net_admin', 'CAP_BPF'],
      ['bpf', 'CAP_NET_ADMIN'],
    ] as const) {
      // The listeners of the test itself need to be transparent.
      const { probe } = outcome(`${OPEN_TUN}; ${asUser([has, 'net_raw'])}sh -c "${PROBE}"`);
      expect(probe.verdict).toBe('unsupported');
      expect(probe.missing?.map(({ name }) => name)).toEqual([lacks]);
      expect(probe.missing?.[0]?.remedy).toMatch(/CAP_BPF and CAP_NET_ADMIN/);
    }
  });

  test('a tun device that may not be opened is named, with the way to allow it', () => {
    const closed = OPEN_TUN.replace('0666', '0600');
    const { probe } = outcome(`${closed}; ${asUser(['bpf', 'net_admin'])}sh -c "${PROBE}"`);
    expect(probe.missing).toEqual([
      { kind: 'device', name: '/dev/net/tun', remedy: expect.stringContaining('chmod 0666') as string },
    ]);
    const absent = outcome(`mount -t tmpfs tmpfs /dev/net; ip link set lo up; ${PROBE}`);
    expect(absent.probe.missing?.[0]?.remedy).toContain('mknod /dev/net/tun c 10 200');
  });

  test('a user namespace is refused, and that is the reason given', () => {
    const inside = `${OPEN_TUN}; unshare -Urn sh -ec 'ip link set lo up; ${PROBE.replaceAll("'", '')}'`;
    const { probe } = outcome(inside);
    expect(probe.verdict).toBe('unsupported');
    expect(probe.missing?.map(({ name }) => name)).toEqual(['CAP_BPF outside of a user namespace']);
    expect(probe.missing?.[0]?.remedy).toMatch(/outside of the user namespace/);
  });
});

describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('a program that the kernel does not take', () => {
  test('is told by the lines that matter, and the whole log is kept', () => {
    enterFreshNamespace();
    const wrong = new URL('objects/wrong-context.bpf.o', import.meta.url);
    let error: unknown;
    try {
      new SkLookup(wrong).close();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(UnsupportedError);
    const { problem, remedy, cause } = error as UnsupportedError;
    expect(problem).toMatch(/verifier refused the sk_lookup program: .*invalid bpf_context access off=4096/);
    expect(problem.length).toBeLessThan(600);
    expect(remedy).toContain('another interceptor');
    expect(cause).toBeInstanceOf(VerifierError);
    expect((cause as VerifierError).log).toContain('processed');
  });

  test('a file that is none is named', () => {
    enterFreshNamespace();
    expect(() => new SkLookup(new URL(import.meta.url))).toThrow(/cannot read .*privileges\.net\.test/);
  });
});
