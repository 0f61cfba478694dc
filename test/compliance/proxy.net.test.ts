// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import { EXPLICIT_TCP_CASES, requires, type ComplianceEnvironment } from '@weir/core/testing';
import { describe, test } from 'vitest';

const environment: ComplianceEnvironment = { interceptor: 'proxy', explicit: true };

describe.skipIf(requires('namespaces', 'ipv6', 'nft'))('proxy', () => {
  for (const { name, timeoutMs, run } of EXPLICIT_TCP_CASES) {
    test(name, { timeout: timeoutMs }, () => run(environment));
  }
});
