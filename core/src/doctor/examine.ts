/** `weir doctor`: asks every mechanism and runs every check. Changes nothing. */
import type { Logger } from '../api/logger.ts';
import { WeirError } from '../api/errors.ts';
import type { Configuration } from '../config/model.ts';
import { candidatesOf, unsuitable } from '../engine/selection.ts';
import { hostFacts } from '../host/facts.ts';
import { numbersOf, orphanSlots, recordedNumbers } from '../host/numbers.ts';
import { loadPlugins } from '../registry/load.ts';
import { examineBackends } from './backends.ts';
import type { Check, DoctorContext } from './context.ts';
import { checkDnsPort } from './dns-port.ts';
import { checkFamilies, checkRoutes } from './families.ts';
import { checkInput } from './input-policy.ts';
import { checkLeftovers, livingOwners } from './leftovers.ts';
import { checkBacklog, checkOpenFiles, checkPipes, checkWorkerCpus } from './limits.ts';
import { checkMarks } from './marks.ts';
import { checkPrivileges } from './privileges.ts';
import { readFirewall } from './read-firewall.ts';
import { fine, type DoctorReport, type Finding } from './report.ts';
import { checkReach, checkResolvConf, checkUnseen } from './reach.ts';
import { checkPreferences, checkTables } from './routing-rules.ts';
import { checkBridge, checkReversePath } from './sysctls.ts';
import { checkNotrack, checkTproxyUsers } from './tproxy-users.ts';

/** By name, in the order in which they are told: privileges, collisions, what loses packets, the rest. */
const CHECKS: ReadonlyArray<readonly [name: string, check: Check]> = [
  ['capabilities', checkPrivileges],
  ['leftovers', checkLeftovers],
  ['marks', checkMarks],
  ['preferences', checkPreferences],
  ['tables', checkTables],
  ['tproxy', checkTproxyUsers],
  ['conntrack', checkNotrack],
  ['input', checkInput],
  ['bridge', checkBridge],
  ['rp-filter', checkReversePath],
  ['ipv6', checkFamilies],
  ['routes', checkRoutes],
  ['reach', checkReach],
  ['unseen-names', checkUnseen],
  ['resolv-conf', checkResolvConf],
  ['dns-port', checkDnsPort],
  ['open-files', (context) => checkOpenFiles(context)],
  ['pipes', checkPipes],
  ['backlog', checkBacklog],
  ['worker-cpus', (context) => checkWorkerCpus(context)],
];

function firewallFindings(unseen: readonly string[]): readonly Finding[] {
  const check = 'firewall';
  if (unseen.length === 0) return [fine(check, 'the packet filters of this host could be looked at')];
  return unseen.map((what) => ({
    check,
    severity: 'warning',
    what,
    remedy: 'Run `weir doctor` as root where nftables or iptables is installed, so that collisions can be found.',
  }));
}

async function findingsOf([name, check]: (typeof CHECKS)[number], context: DoctorContext): Promise<readonly Finding[]> {
  try {
    return await check(context);
  } catch (error) {
    // One question without an answer must not hide the others'.
    const what = error instanceof WeirError ? error.problem : String(error);
    return [{ check: name, severity: 'warning', what, remedy: 'Run `weir doctor` as root.' }];
  }
}

/** @param configuration what would be run: its numbers, listeners and limits are what is looked at */
export async function examine(configuration: Configuration, log: Logger): Promise<DoctorReport> {
  const { owner, capture } = configuration;
  const living = livingOwners();
  const recorded = recordedNumbers(owner);
  const numbers =
    living.has(owner) && recorded !== undefined
      ? recorded
      : numbersOf(recorded?.slot ?? orphanSlots(owner)[0] ?? 0, capture);
  const registry = await loadPlugins(configuration.plugins);
  const backends = await examineBackends(registry.interceptors(), configuration, numbers, log);
  const firewall = readFirewall();
  const interceptor = candidatesOf(configuration, registry.interceptors()).find(
    (candidate) =>
      candidate.capabilities.transparent &&
      unsuitable(candidate, configuration) === undefined &&
      backends.find((one) => one.interceptor === candidate.id)?.verdict === 'supported',
  );
  const context: DoctorContext = {
    configuration,
    dialerTypes: registry.dialerTypes,
    facts: hostFacts(),
    numbers,
    living,
    firewall,
    interceptor,
  };
  const findings: Finding[] = [...firewallFindings(firewall.unseen)];
  for (const check of CHECKS) findings.push(...(await findingsOf(check, context)));
  const usable = backends.some(({ transparent, verdict }) => transparent && verdict !== 'unsupported');
  return { owner, backends, usable, findings };
}
