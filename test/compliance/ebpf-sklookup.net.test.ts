// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import {
  casesByCapability,
  CRASH_CASES,
  crashCases,
  HOOK_CASES,
  OWN_SOURCE_CASES,
  requires,
  TCP_OUTPUT_CASES,
  type ComplianceEnvironment,
} from '@weir/core/testing';
import { ebpfSklookup } from '@weir/ebpf-sklookup';
import { describe, test } from 'vitest';

const environment: ComplianceEnvironment = { interceptor: 'ebpf-sklookup' };

/** A fault at every step takes minutes; the soak has them. */
const stride = process.env['WEIR_SOAK'] === '1' ? 1 : 6;

const CRASHES = new Set(CRASH_CASES.map(({ name }) => name));
const PLAIN = TCP_OUTPUT_CASES.filter(({ name }) => !CRASHES.has(name));
const { held, leftOut } = casesByCapability(
  [...PLAIN, ...OWN_SOURCE_CASES, ...crashCases(stride)],
  ebpfSklookup.capabilities,
);

for (const { name, reason } of leftOut) process.stderr.write(`no case for ebpf-sklookup: ${name}: ${reason}\n`);

describe.skipIf(requires('namespaces', 'bpf', 'ipv6', 'curl', 'ping', 'nft'))('ebpf-sklookup', () => {
  for (const { name, timeoutMs, run } of held) {
    test(name, { timeout: timeoutMs }, () => run(environment));
  }
});

// Last: they leave this process in other namespaces.
describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('hooks of ebpf-sklookup', () => {
  for (const { name, timeoutMs, run } of HOOK_CASES) {
    test(name, { timeout: timeoutMs }, () => run({ definition: ebpfSklookup }));
  }
});
