// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import { enterFreshNamespace, requires, shell, TPROXY_STEERING_CASES } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { environment, instance, signal } from './instance.ts';

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('what nft steers', () => {
  for (const { name, run } of TPROXY_STEERING_CASES) test(name, () => run(environment));

  test('routes kept for living flows are bounded', async () => {
    enterFreshNamespace();
    await using weir = instance();
    const prefixes = Array.from({ length: 1500 }, (_, i) => `20.${i >> 8}.${i & 255}.0/25`);
    await weir.start(weir.input([{ prefixes }], {}, { canaries: [] }));
    await weir.interceptor.update(weir.input([], {}, { canaries: [], generation: 2 }), signal);
    expect(shell('ip route show table 22498').trim().split('\n')).toHaveLength(1024);
    expect(await weir.interceptor.verify(signal)).toEqual([]);
  });
});
