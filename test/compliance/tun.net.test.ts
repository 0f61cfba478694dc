// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import {
  casesByCapability,
  requires,
  TCP_FORWARD_CASES,
  TCP_OUTPUT_CASES,
  UDP_FORWARD_CASES,
  UDP_OUTPUT_CASES,
  type ComplianceCase,
  type ComplianceEnvironment,
} from '@weir/core/testing';
import { tun } from '@weir/tun';
import { describe, test } from 'vitest';

const environment: ComplianceEnvironment = { interceptor: 'tun', needsForwarding: true };

/** Cases that this mechanism cannot hold, and why: the kernel's limits of kernel-facts.md 0.13 and 0.17. */
const LIMITS: ReadonlyMap<string, string> = new Map([
  [
    'forwarded: where the host passes nothing on, and drops in FORWARD',
    'forwarded packets pass through the device: the host must pass packets on; without, the start is refused',
  ],
  [
    'forwarded: an update captures what came, leaves what went, and living flows go on',
    'nothing tells the living flows of a removed prefix from others: they are cut',
  ],
  [
    'forwarded: an update leaves living UDP sessions where they are',
    'nothing tells the living sessions of a removed prefix from others: they go to the real host',
  ],
  [
    'forwarded: UDP of any size arrives unchanged, both ways',
    'later fragments have no ports, so that no rule on ports brings them to the device',
  ],
]);

const LISTS: Readonly<Record<string, readonly ComplianceCase[]>> = {
  'tun, tcp': TCP_OUTPUT_CASES,
  'tun, udp': UDP_OUTPUT_CASES,
  'tun, tcp forwarded': TCP_FORWARD_CASES,
  'tun, udp forwarded': UDP_FORWARD_CASES,
};

for (const [title, cases] of Object.entries(LISTS)) {
  const { held, leftOut } = casesByCapability(cases, tun.capabilities);
  const limited = held
    .filter(({ name }) => LIMITS.has(name))
    .map(({ name }) => ({ name, reason: LIMITS.get(name) ?? '' }));
  for (const { name, reason } of [...leftOut, ...limited])
    process.stderr.write(`no case for ${title}: ${name}: ${reason}\n`);
  describe.skipIf(requires('namespaces', 'tun', 'ipv6', 'curl', 'ping', 'nft'))(title, () => {
    for (const { name, timeoutMs, run } of held) {
      if (LIMITS.has(name)) continue;
      test(name, { timeout: timeoutMs }, () => run(environment));
    }
  });
}
