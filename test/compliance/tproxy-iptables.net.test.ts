// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import { CRASH_CASES, crashCases, requires, TCP_OUTPUT_CASES, type ComplianceEnvironment } from '@weir/core/testing';
import { describe, test } from 'vitest';

/** On the hosts of the cases nobody has rules: without this the machine's default would be tested, and the other not. */
const environment = (variant: string): ComplianceEnvironment => ({
  interceptor: 'tproxy-iptables',
  config: { interceptors: { 'tproxy-iptables': { variant } } },
});

/** A fault at every step takes minutes; the soak has them. */
const stride = process.env['WEIR_SOAK'] === '1' ? 1 : 6;

const CRASHES = new Set(CRASH_CASES.map(({ name }) => name));
const PLAIN = TCP_OUTPUT_CASES.filter(({ name }) => !CRASHES.has(name));

/** What the variants have in common is tried with one of them. */
const MECHANISM =
  /destination|own dial|bypass|exclusions|longest|sources|neighbour|everything|untouched|update|drain|owners/;

describe.skipIf(requires('namespaces', 'iptables-nft', 'ipv6', 'curl', 'ping', 'nft'))('tproxy-iptables (nft)', () => {
  for (const { name, timeoutMs, run } of [...PLAIN, ...crashCases(stride)]) {
    test(name, { timeout: timeoutMs }, () => run(environment('nft')));
  }
});

const legacy = [...PLAIN.filter(({ name }) => stride === 1 || MECHANISM.test(name)), ...crashCases(4 * stride)];

describe.skipIf(requires('namespaces', 'iptables-legacy', 'ipv6', 'curl', 'ping', 'nft'))(
  'tproxy-iptables (legacy)',
  () => {
    for (const { name, timeoutMs, run } of legacy) {
      test(name, { timeout: timeoutMs }, () => run(environment('legacy')));
    }
  },
);
