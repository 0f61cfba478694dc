import { NftablesMonitor } from '@weir/core/sys';
import { enterFreshNamespace, requires, shell } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';

describe.skipIf(requires('namespaces', 'nft'))('notices of nftables', () => {
  test('every change of any table is told once, and nothing else', () => {
    enterFreshNamespace();
    using monitor = new NftablesMonitor();
    expect(monitor.poll()).toBe(false);
    for (const change of ['add table inet t', 'add set inet t s { type ipv4_addr; }', 'flush ruleset']) {
      shell(`nft '${change}'`);
      expect(monitor.poll(), change).toBe(true);
      expect(monitor.poll(), `after ${change}`).toBe(false);
    }
    shell('nft list ruleset; ip rule add pref 9999 lookup 7');
    expect(monitor.poll()).toBe(false);
  });

  test('more than there is room for is a change too, and what comes later is told again', () => {
    enterFreshNamespace();
    using monitor = new NftablesMonitor();
    const elements = Array.from({ length: 20_000 }, (_, i) => `10.${i >> 8}.${i & 255}.1`);
    shell(
      `nft -f /dev/stdin`,
      `add table inet t\nadd set inet t s { type ipv4_addr; elements = { ${elements.join(', ')} } }\n`,
    );
    expect(monitor.poll()).toBe(true);
    while (monitor.poll());
    shell('nft delete table inet t');
    expect(monitor.poll()).toBe(true);
  });

  test('another namespace is another ruleset, and a closed monitor tells nothing', () => {
    enterFreshNamespace();
    const monitor = new NftablesMonitor();
    enterFreshNamespace();
    shell('nft add table inet t');
    expect(monitor.poll()).toBe(false);
    monitor.close();
    monitor.close();
    expect(monitor.poll()).toBe(false);
  });
});
