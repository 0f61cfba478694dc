import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UnsupportedError } from '@weir/core';
import { descriptorsOf, enterFreshNamespace, openedSince, requires, shell, TproxyInstance } from '@weir/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { tproxyIptables } from '../src/index.ts';
import { instance, signal, state } from './variants.ts';

const WEB = { prefixes: ['203.0.113.0/24'], ports: [[443, 443]] as const };
const path = process.env['PATH'] ?? '';
function auto(): TproxyInstance {
  return new TproxyInstance(tproxyIptables);
}

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-fake-iptables-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
  process.env['PATH'] = path;
  delete process.env['WEIR_IPTABLES'];
});

/** A program of iptables as it behaves on a kernel that lacks the extension `word`; otherwise the real one. */
function lacking(name: string, word: string): void {
  const script = `#!/bin/sh
    cat > ${folder}/input
    if grep -q -- "${word}" ${folder}/input; then
      echo "${name}: line 4: Extension ${word} revision 0 not supported, missing kernel module?" >&2
      exit 2
    fi
    exec env PATH=/usr/sbin:/sbin:/usr/bin:/bin ${name} "$@" < ${folder}/input\n`;
  writeFileSync(join(folder, name), script);
  chmodSync(join(folder, name), 0o755);
  process.env['PATH'] = `${folder}:${path}`;
}

describe.skipIf(requires('namespaces', 'iptables-nft', 'iptables-legacy', 'ipv6'))('the probe', () => {
  test('changes nothing, and says which variant and why', async () => {
    enterFreshNamespace();
    const before = state();
    const open = descriptorsOf();
    await using weir = auto();
    const listeners = openedSince(open, descriptorsOf());
    expect(await weir.interceptor.probe(signal)).toMatchObject({
      verdict: 'supported',
      facts: { iptables: expect.stringMatching(/^(nft|legacy) variant, since this host has no rules yet/) as string },
    });
    expect(state()).toBe(before);
    expect(openedSince(open, descriptorsOf())).toEqual(listeners);
  });

  for (const [rules, variant, because] of [
    ['iptables-nft -A INPUT -j ACCEPT', 'nft', 'the rules of this host are there'],
    ['iptables-legacy -A INPUT -j ACCEPT', 'legacy', 'the rules of this host are there'],
    ['ip6tables-legacy -t nat -N mine', 'legacy', 'the rules of this host are there'],
    ['iptables-nft -P FORWARD DROP; iptables-legacy -L', 'nft', 'the rules of this host are there'],
    ['iptables-legacy -P FORWARD DROP; iptables-nft -t raw -L', 'legacy', 'the rules of this host are there'],
    ['iptables-nft -N a; iptables-legacy -N b', 'nft', 'this host has rules in both'],
  ] as const) {
    test(`takes the variant that the host uses: ${rules}`, async () => {
      enterFreshNamespace();
      shell(rules);
      await using weir = auto();
      const probe = await weir.interceptor.probe(signal);
      expect(probe).toMatchObject({ verdict: 'supported', facts: { iptables: expect.any(String) as string } });
      expect(JSON.stringify(probe)).toContain(`${variant} variant, since ${because}`);
      await weir.start(weir.input([WEB]));
      expect(shell(`iptables-${variant}-save`)).toContain('-j TPROXY');
      expect(shell(`iptables-${variant === 'nft' ? 'legacy' : 'nft'}-save`)).not.toContain('TPROXY');
    });
  }

  test('names what is missing: all programs, those of a variant, IPv6’s, a kernel module', async () => {
    enterFreshNamespace();
    process.env['WEIR_IPTABLES'] = 'off';
    await using weir = auto();
    expect(await weir.interceptor.probe(signal)).toMatchObject({
      verdict: 'unsupported',
      missing: [{ kind: 'binary', name: 'iptables', remedy: expect.stringContaining('apt-get install') as string }],
    });
    await expect(weir.interceptor.provision(signal)).rejects.toThrow(UnsupportedError);
    process.env['WEIR_IPTABLES'] = 'legacy';
    expect(await weir.interceptor.probe(signal)).toMatchObject({
      facts: { iptables: 'legacy variant, since no other is installed' },
    });
    await using wanted = instance('nft');
    expect(await wanted.interceptor.probe(signal)).toMatchObject({
      verdict: 'unsupported',
      missing: [{ kind: 'binary', name: 'iptables (nft)' }],
    });
    process.env['WEIR_IPTABLES'] = 'nft';
    for (const [word, module] of [
      ['TPROXY', 'xt_TPROXY'],
      ['connmark', 'xt_connmark'],
      ['addrtype', 'xt_addrtype'],
      ['REJECT', 'ipt_REJECT'],
    ] as const) {
      lacking('iptables-nft-restore', word);
      // eslint-disable-next-line no-await-in-loop -- one after the other
      expect(await weir.interceptor.probe(signal)).toEqual({
        verdict: 'unsupported',
        missing: [{ kind: 'module', name: module, remedy: expect.stringContaining(`modprobe ${module}`) as string }],
      });
    }
  });

  test('a kernel that refuses only at start sends selection on to the next', async () => {
    enterFreshNamespace();
    const before = state();
    lacking('ip6tables-nft-restore', 'TPROXY');
    await using weir = instance('nft');
    await expect(weir.start(weir.input([WEB]))).rejects.toThrow(UnsupportedError);
    expect(weir.host.made).toEqual([]);
    expect(state()).toBe(before);
  });

  test('rules that iptables cannot read are named, with a way out', async () => {
    enterFreshNamespace();
    shell('nft add table ip mangle; nft add chain ip mangle x "{ type filter hook output priority 5; }"');
    await using weir = instance('nft');
    const probe = await weir.interceptor.probe(signal);
    if (probe.verdict === 'unsupported') {
      expect(probe.missing).toMatchObject([{ kind: 'config', remedy: expect.stringContaining('nft') as string }]);
    } else {
      // Newer versions work beside what they cannot read.
      await weir.start(weir.input([WEB]));
      expect(await weir.interceptor.verify(signal)).toEqual([]);
    }
  });
});
