// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import {
  CRASH_CASES,
  crashCases,
  HOOK_CASES,
  OWN_SOURCE_CASES,
  requires,
  TCP_FORWARD_CASES,
  TCP_OUTPUT_CASES,
  UDP_FORWARD_CASES,
  UDP_OUTPUT_CASES,
} from '@weir/core/testing';
import { ebpfSklookup } from '@weir/ebpf-sklookup';
import { describe, test } from 'vitest';
import { mustHold } from './held.ts';

/** A fault at every step takes minutes; the soak has them. */
const stride = process.env['WEIR_SOAK'] === '1' ? 1 : 6;

const CRASHES = new Set(CRASH_CASES.map(({ name }) => name));
const PLAIN = TCP_OUTPUT_CASES.filter(({ name }) => !CRASHES.has(name));

const LISTS = {
  tcp: [...PLAIN, ...OWN_SOURCE_CASES, ...crashCases(stride)],
  udp: UDP_OUTPUT_CASES,
  'tcp forwarded': TCP_FORWARD_CASES,
  'udp forwarded': UDP_FORWARD_CASES,
};

mustHold(ebpfSklookup, { interceptor: 'ebpf-sklookup' }, LISTS, ['bpf']);

// Last: they leave this process in other namespaces.
describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('hooks of ebpf-sklookup', () => {
  for (const { name, timeoutMs, run } of HOOK_CASES) {
    test(name, { timeout: timeoutMs }, () => run({ definition: ebpfSklookup }));
  }
});
