// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
/** Lists of compliance cases as tests of one mechanism: what it holds runs, what it cannot hold is named. */
import {
  casesByCapability,
  CRASH_CASES,
  crashCases,
  FORWARD_CARRIAGE_CASES,
  requires,
  type ComplianceCase,
  type ComplianceEnvironment,
} from '@weir/core/testing';
import type { InterceptorDefinition } from '@weir/core';
import { describe, test } from 'vitest';

const CRASHES = new Set(CRASH_CASES.map(({ name }) => name));

/** A fault is injected at every so manieth step: at every one takes minutes, which the soak has. */
export const STRIDE = process.env['WEIR_SOAK'] === '1' ? 1 : 6;

const CARRIAGE = new Set(FORWARD_CARRIAGE_CASES.map(({ name }) => name));

/**
 * Of forwarded flows, the cases that are the mechanism's own. What becomes of a flow's bytes once it is accepted is the same
 * for all that lead flows to sockets of the kernel: nft and tun are held to it each time, the others by the soak and by
 * `npm run compliance`, and that is said.
 */
export function ownForwarded(interceptor: string, cases: readonly ComplianceCase[]): readonly ComplianceCase[] {
  if (STRIDE === 1) return cases;
  const own = cases.filter(({ name }) => !CARRIAGE.has(name));
  const left = cases.length - own.length;
  process.stderr.write(
    `left to WEIR_SOAK=1 and npm run compliance: ${left} cases of ${interceptor}, tcp forwarded: bytes\n`,
  );
  return own;
}

/** The cases without those that inject faults. */
export function withoutCrashes(cases: readonly ComplianceCase[]): readonly ComplianceCase[] {
  return cases.filter(({ name }) => !CRASHES.has(name));
}

/** The cases, with faults at the steps that there is time for. */
export function withSomeCrashes(cases: readonly ComplianceCase[]): readonly ComplianceCase[] {
  return [...withoutCrashes(cases), ...crashCases(STRIDE)];
}

/**
 * @param lists by title, which stands behind the mechanism's.
 * @param needs what the machine must have beside namespaces, IPv6 and the clients of the cases.
 */
export function mustHold(
  { capabilities }: InterceptorDefinition<never>,
  environment: ComplianceEnvironment,
  lists: Readonly<Record<string, readonly ComplianceCase[]>>,
  needs: readonly string[],
): void {
  for (const [title, cases] of Object.entries(lists)) {
    const whole = `${environment.interceptor}, ${title}`;
    const { held, leftOut } = casesByCapability(cases, capabilities, environment);
    for (const { name, reason } of leftOut) process.stderr.write(`no case for ${whole}: ${name}: ${reason}\n`);
    describe.skipIf(requires('namespaces', 'ipv6', 'curl', 'ping', 'nft', ...needs))(whole, () => {
      for (const { name, timeoutMs, run } of held) {
        test(name, { timeout: timeoutMs }, () => run(environment));
      }
    });
  }
}
