// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import { requires, TCP_OUTPUT_CASES, type ComplianceEnvironment } from '@weir/core/testing';
import { describe, test } from 'vitest';

const environment: ComplianceEnvironment = { interceptor: 'tun' };

describe.skipIf(requires('namespaces', 'tun', 'ipv6', 'curl', 'ping'))('tun', () => {
  for (const { name, timeoutMs, run } of TCP_OUTPUT_CASES) {
    test(name, { timeout: timeoutMs }, () => run(environment));
  }
});
