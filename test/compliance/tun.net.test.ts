// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import {
  casesByCapability,
  requires,
  TCP_OUTPUT_CASES,
  UDP_OUTPUT_CASES,
  type ComplianceCase,
  type ComplianceEnvironment,
} from '@weir/core/testing';
import { tun } from '@weir/tun';
import { describe, test } from 'vitest';

const environment: ComplianceEnvironment = { interceptor: 'tun' };

const LISTS: Readonly<Record<string, readonly ComplianceCase[]>> = {
  'tun, tcp': TCP_OUTPUT_CASES,
  'tun, udp': UDP_OUTPUT_CASES,
};

for (const [title, cases] of Object.entries(LISTS)) {
  const { held, leftOut } = casesByCapability(cases, tun.capabilities);
  for (const { name, reason } of leftOut) process.stderr.write(`no case for ${title}: ${name}: ${reason}\n`);
  describe.skipIf(requires('namespaces', 'tun', 'ipv6', 'curl', 'ping', 'nft'))(title, () => {
    for (const { name, timeoutMs, run } of held) {
      test(name, { timeout: timeoutMs }, () => run(environment));
    }
  });
}
