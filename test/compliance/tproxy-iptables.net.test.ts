// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import {
  casesByCapability,
  crashCases,
  requires,
  TCP_FORWARD_CASES,
  TCP_OUTPUT_CASES,
  UDP_FORWARD_CASES,
  UDP_OUTPUT_CASES,
  type ComplianceCase,
  type ComplianceEnvironment,
} from '@weir/core/testing';
import { tproxyIptables } from '@weir/tproxy-iptables';
import { describe, test } from 'vitest';
import { ownForwarded, STRIDE, withoutCrashes } from './held.ts';

/** On the hosts of the cases nobody has rules: without this the machine's default would be tested, and the other not. */
const environment = (variant: string): ComplianceEnvironment => ({
  interceptor: 'tproxy-iptables',
  config: { interceptors: { 'tproxy-iptables': { variant } } },
});

const PLAIN = withoutCrashes(TCP_OUTPUT_CASES);

/** What the variants have in common is tried with one of them. */
const MECHANISM =
  /destination|own dial|bypass|exclusions|longest|sources|neighbour|everything|untouched|update|drain|owners/;

/** And what the other lists prove anew of a variant: the way in, and that a change of the rules leaves what lives. */
const WAY_IN = /answered|destination|capturing everything|an update leaves|an update captures/;

interface List {
  readonly title: string;
  readonly cases: readonly ComplianceCase[];
  readonly legacy: RegExp;
  readonly crashes: boolean;
}

const LISTS: readonly List[] = [
  { title: 'tcp', cases: PLAIN, legacy: MECHANISM, crashes: true },
  { title: 'udp', cases: UDP_OUTPUT_CASES, legacy: WAY_IN, crashes: false },
  {
    title: 'tcp forwarded',
    cases: ownForwarded('tproxy-iptables', TCP_FORWARD_CASES),
    legacy: WAY_IN,
    crashes: false,
  },
  { title: 'udp forwarded', cases: UDP_FORWARD_CASES, legacy: WAY_IN, crashes: false },
];

for (const { title, cases, legacy, crashes } of LISTS) {
  const { held, leftOut } = casesByCapability(cases, tproxyIptables.capabilities);
  for (const { name, reason } of leftOut)
    process.stderr.write(`no case for tproxy-iptables, ${title}: ${name}: ${reason}\n`);
  const some = held.filter(({ name }) => STRIDE === 1 || legacy.test(name));
  for (const [variant, chosen, every] of [
    ['nft', held, STRIDE],
    ['legacy', some, 4 * STRIDE],
  ] as const) {
    describe.skipIf(requires('namespaces', `iptables-${variant}`, 'ipv6', 'curl', 'ping', 'nft'))(
      `tproxy-iptables (${variant}), ${title}`,
      () => {
        for (const { name, timeoutMs, run } of crashes ? [...chosen, ...crashCases(every)] : chosen) {
          test(name, { timeout: timeoutMs }, () => run(environment(variant)));
        }
      },
    );
  }
}
