// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import {
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
import { mustHold, ownForwarded, withSomeCrashes } from './held.ts';

const LISTS = {
  tcp: withSomeCrashes([...TCP_OUTPUT_CASES, ...OWN_SOURCE_CASES]),
  udp: UDP_OUTPUT_CASES,
  'tcp forwarded': ownForwarded('ebpf-sklookup', TCP_FORWARD_CASES),
  'udp forwarded': UDP_FORWARD_CASES,
};

mustHold(ebpfSklookup, { interceptor: 'ebpf-sklookup' }, LISTS, ['bpf']);

// Last: they leave this process in other namespaces.
describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('hooks of ebpf-sklookup', () => {
  for (const { name, timeoutMs, run } of HOOK_CASES) {
    test(name, { timeout: timeoutMs }, () => run({ definition: ebpfSklookup }));
  }
});
