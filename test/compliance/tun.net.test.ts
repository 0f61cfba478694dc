import {
  requires,
  TCP_FORWARD_CASES,
  TCP_OUTPUT_CASES,
  UDP_FORWARD_CASES,
  UDP_OUTPUT_CASES,
  type ComplianceEnvironment,
} from '@weir/core/testing';
import { tun } from '@weir/tun';
import { describe, test } from 'vitest';
import { mustHold, withSomeCrashes } from './held.ts';

const LISTS = {
  tcp: withSomeCrashes(TCP_OUTPUT_CASES),
  udp: UDP_OUTPUT_CASES,
  'tcp forwarded': TCP_FORWARD_CASES,
  'udp forwarded': UDP_FORWARD_CASES,
};
const environment: ComplianceEnvironment = { interceptor: 'tun', needsForwarding: true };

mustHold(tun, environment, LISTS, ['tun']);

/** With connections that are answered as their upstream answers: the cases in which dial and accept meet. */
const DEFERRED: ComplianceEnvironment = {
  ...environment,
  config: { interceptors: { tun: { handshake: 'deferred' } } },
};
const DIALLED_FIRST = TCP_FORWARD_CASES.filter(({ name }) => /1,000 times|reset by the|half-close by/.test(name));

describe.skipIf(requires('namespaces', 'tun', 'ipv6'))('tun, handshake deferred', () => {
  // oxlint-disable-next-line vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
  for (const { name, timeoutMs, run } of DIALLED_FIRST) test(name, { timeout: timeoutMs }, () => run(DEFERRED));
});
