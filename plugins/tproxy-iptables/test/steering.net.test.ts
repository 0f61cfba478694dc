// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import { requires, TPROXY_STEERING_CASES } from '@weir/core/testing';
import { describe, test } from 'vitest';
import { environment, VARIANTS } from './variants.ts';

for (const variant of VARIANTS) {
  describe.skipIf(requires('namespaces', `iptables-${variant}`, 'nft', 'ipv6'))(
    `what iptables steers, ${variant}`,
    () => {
      for (const { name, run } of TPROXY_STEERING_CASES) test(name, () => run(environment(variant)));
    },
  );
}
