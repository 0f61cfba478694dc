// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import {
  casesByCapability,
  requires,
  TCP_FORWARD_CASES,
  TCP_OUTPUT_CASES,
  UDP_FORWARD_CASES,
  UDP_OUTPUT_CASES,
  type ComplianceEnvironment,
} from '@weir/core/testing';
import { nft } from '@weir/nft';
import { describe, test } from 'vitest';
import { withSomeCrashes } from './held.ts';

const environment: ComplianceEnvironment = { interceptor: 'nft' };

const LISTS = {
  'nft, tcp': withSomeCrashes(TCP_OUTPUT_CASES),
  'nft, udp': UDP_OUTPUT_CASES,
  'nft, tcp forwarded': TCP_FORWARD_CASES,
  'nft, udp forwarded': UDP_FORWARD_CASES,
};

for (const [title, cases] of Object.entries(LISTS)) {
  const { held, leftOut } = casesByCapability(cases, nft.capabilities);
  for (const { name, reason } of leftOut) process.stderr.write(`no case for ${title}: ${name}: ${reason}\n`);
  describe.skipIf(requires('namespaces', 'nft', 'ipv6', 'curl', 'ping'))(title, () => {
    for (const { name, timeoutMs, run } of held) {
      test(name, { timeout: timeoutMs }, () => run(environment));
    }
  });
}
