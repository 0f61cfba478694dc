/**
 * What every interceptor must do, as a list of named cases. Data, so that any runner can run it: vitest in Weir's own tests,
 * `npm run compliance` as a table, a third party's runner for a third party's interceptor.
 *
 * Each case makes its own private hosts and starts the real `weir run` in one of them.
 */
import type { ComplianceCase } from './compliance/case.ts';
import { CARRIAGE_CASES, FORWARD_CARRIAGE_CASES } from './compliance/carriage.ts';
import { CRASH_CASES, EXPLICIT_CRASH_CASES } from './compliance/crash.ts';
import { DATAGRAM_CASES, FORWARD_DATAGRAM_CASES } from './compliance/datagrams.ts';
import { EXPLICIT_LIFECYCLE_CASES, FORWARD_LIFECYCLE_CASES, LIFECYCLE_CASES } from './compliance/lifecycle.ts';
import { DATAGRAM_OWNER_CASES, FORWARD_OWNER_CASES, OWNER_CASES } from './compliance/owners.ts';
import { FORWARD_STEERING_CASES, STEERING_CASES } from './compliance/steering.ts';

export { casesByCapability, type ComplianceCase, type LeftOutCase, type SourceHandling } from './compliance/case.ts';
export { HOOK_CASES, type HookCase, type HookEnvironment } from './compliance/hooks.ts';
export type { ComplianceEnvironment } from './compliance/stage.ts';
export { OWN_SOURCE_CASES } from './compliance/steering.ts';

/** TCP over IPv4 and IPv6, connections made on the host itself. */
export const TCP_OUTPUT_CASES: readonly ComplianceCase[] = [
  ...STEERING_CASES,
  ...OWNER_CASES,
  ...CARRIAGE_CASES,
  ...LIFECYCLE_CASES,
  ...CRASH_CASES,
];

/** TCP over IPv4 and IPv6, connections that pass through the host. */
export const TCP_FORWARD_CASES: readonly ComplianceCase[] = [
  ...FORWARD_STEERING_CASES,
  ...FORWARD_OWNER_CASES,
  ...FORWARD_CARRIAGE_CASES,
  ...FORWARD_LIFECYCLE_CASES,
];

/** UDP over IPv4 and IPv6, sent on the host itself. */
export const UDP_OUTPUT_CASES: readonly ComplianceCase[] = [...DATAGRAM_CASES, ...DATAGRAM_OWNER_CASES];

/** UDP over IPv4 and IPv6 that passes through the host. */
export const UDP_FORWARD_CASES: readonly ComplianceCase[] = FORWARD_DATAGRAM_CASES;

/** TCP over IPv4 and IPv6 for mechanisms that capture nothing: everything but steering. */
export const EXPLICIT_TCP_CASES: readonly ComplianceCase[] = [
  ...CARRIAGE_CASES,
  ...EXPLICIT_LIFECYCLE_CASES,
  ...EXPLICIT_CRASH_CASES,
];
