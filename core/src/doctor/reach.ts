/** Checks `reach` and `resolv-conf`: how the host's queries would get to Weir, what puts that back, and what it cannot see. */
import { existsSync } from 'node:fs';
import { WeirError } from '../api/errors.ts';
import { resolveReach, type ResolvedReach } from '../dns/reach.ts';
import { hostServers } from '../dns/reach-capture.ts';
import { findObstacle, RESOLV_CONF } from '../dns/resolv-conf-claim.ts';
import { waysToResolved } from '../dns/resolved.ts';
import { captureMeans } from '../engine/captured-servers.ts';
import { capturesNames } from '../engine/reload-scope.ts';
import type { DoctorContext } from './context.ts';
import { fine, type Finding } from './report.ts';
import { resolvedSetting } from './resolved-settings.ts';

type ReachContext = Pick<DoctorContext, 'configuration' | 'facts' | 'interceptor' | 'living'>;

/** What makes the host as it was: at a stop, and after a kill. */
const RESTORED: Readonly<Record<ResolvedReach['kind'], string>> = {
  capture: 'it ends with the rules of the interceptor',
  'systemd-resolved': 'it ends with the process, whose network device it hangs on; no file is touched',
  'resolv-conf':
    'a stop, the keeper after a kill, or `weir cleanup` put the file back; its original stands in it as comments',
  hosts: "a stop, the keeper after a kill, or `weir cleanup` take Weir's lines out; those of others stay",
  none: 'nothing is changed',
};

/** Servers for which Chromium knows an address of DNS over HTTPS, which it then uses by itself. */
const KNOWN_BY_CHROMIUM =
  /^(?:8\.8\.8\.8|8\.8\.4\.4|1\.1\.1\.1|1\.0\.0\.1|9\.9\.9\.9|149\.112\.112\.112|94\.140\.14\.1[45]|185\.228\.16[89]\.|2001:4860:4860::|2606:4700:4700::|2620:fe::)/;

/** How resolved.conf switches something off. */
const NO: ReadonlySet<string> = new Set(['no', 'false', 'off', 'n', 'f', '0']);
const VIA_RESOLVED = { key: 'resolver.reach', value: 'systemd-resolved' };

/** What this way does not see, as far as this host's configuration tells. */
function unseen(reach: ResolvedReach): readonly Omit<Finding, 'check'>[] {
  if (reach.kind === 'none') return [];
  const found: Array<Omit<Finding, 'check'>> = [];
  const warn = (what: string, remedy: string, setting?: Finding['setting']): void => {
    found.push({ severity: 'warning', what, remedy, ...(setting === undefined ? {} : { setting }) });
  };
  const ways = waysToResolved(RESOLV_CONF);
  const viaResolved = reach.kind === 'systemd-resolved' || (reach.kind === 'capture' && reach.viaResolved);
  if (ways !== undefined && !viaResolved && reach.kind !== 'hosts') {
    warn(
      `${ways}, and ${reach.kind} does not see what is asked there (D-Bus, varlink, nss-resolve)`,
      'Start systemd-resolved and set resolver.reach: systemd-resolved, or take `resolve` out of /etc/nsswitch.conf.',
    );
  }
  if (reach.kind === 'capture' && viaResolved) {
    const [byTls, signatures] = [resolvedSetting('DNSOverTLS'), resolvedSetting('DNSSEC')];
    if (byTls !== undefined && !NO.has(byTls)) {
      warn(
        `systemd-resolved asks by TLS (DNSOverTLS=${byTls} in resolved.conf), and what goes to port 853 is not captured`,
        'Set resolver.reach: systemd-resolved, or DNSOverTLS=no.',
        VIA_RESOLVED,
      );
    }
    if (signatures !== undefined && !NO.has(signatures)) {
      warn(
        `systemd-resolved checks signatures (DNSSEC=${signatures} in resolved.conf), and answers of Weir have none`,
        'Set resolver.reach: systemd-resolved, which asks Weir without them, or DNSSEC=no.',
        VIA_RESOLVED,
      );
    }
  }
  if (reach.kind === 'capture' && reach.servers.some((server) => KNOWN_BY_CHROMIUM.test(server))) {
    warn(
      `Chromium and its kin ask ${reach.servers.join(', ')} by HTTPS of themselves when they see these servers, and pass Weir by`,
      'Switch "secure DNS" off in the browser (policy DnsOverHttpsMode: off), or set resolver.reach: resolv-conf.',
      { key: 'resolver.reach', value: 'resolv-conf' },
    );
  }
  if (existsSync('/var/run/nscd/socket')) {
    warn(
      'nscd runs, and remembers answers from before Weir and after it',
      'Run `nscd -i hosts` after each start and stop, or stop nscd.',
    );
  }
  return found;
}

/** Undefined where no names would be served, with the reason. */
async function decided({
  configuration,
  facts,
  interceptor,
  living,
}: ReachContext): Promise<{ readonly reach: ResolvedReach } | { readonly instead: string }> {
  const { resolver, owner, services } = configuration;
  if (living.has(owner)) return { instead: `the instance ${owner} runs: \`weir status\` says how names get there` };
  if (!capturesNames(configuration)) return { instead: 'no service has names, so that nothing is pointed at Weir' };
  if (interceptor === undefined) return { instead: 'no interceptor captures here, so that no names are served' };
  const families = facts.ipv6 ? ([4, 6] as const) : ([4] as const);
  const capture = captureMeans({ configuration, interceptor, families, facts: () => facts });
  const hasPatterns = services.some(({ names }) => names.some((name) => /[*?]/.test(name)));
  const listening = resolver.listen;
  return { reach: await resolveReach({ reach: resolver.reach, listening, owner, hasPatterns, capture }) };
}

export async function checkReach(context: ReachContext): Promise<readonly Finding[]> {
  const check = 'reach';
  try {
    const found = await decided(context);
    if ('instead' in found) return [fine(check, found.instead)];
    const { kind, reason } = found.reach;
    if (kind !== 'none' || context.configuration.resolver.reach === 'none') {
      return [fine(check, `queries of this host get to Weir by ${kind}: ${reason}; ${RESTORED[kind]}`)];
    }
    const what = `no query of this host would get to Weir: ${reason}`.replace(/\.$/, '');
    const remedy = 'Mend one of these, or point the host at resolver.listen yourself and set resolver.reach: none.';
    return [{ check, severity: 'warning', what, remedy }];
  } catch (error) {
    if (!(error instanceof WeirError)) throw error;
    return [{ check, severity: 'problem', what: error.problem.replace(/\.$/, ''), remedy: error.remedy }];
  }
}

export async function checkUnseen(context: ReachContext): Promise<readonly Finding[]> {
  const check = 'unseen-names';
  // What keeps it from being decided is said by `reach`.
  const found = await decided(context).catch(() => ({ instead: 'it is not known how names would get to Weir' }));
  if ('instead' in found) return [fine(check, found.instead)];
  const warnings = unseen(found.reach);
  if (warnings.length > 0) return warnings.map((one) => ({ check, ...one }));
  const canary = context.configuration.resolver.dohCanary ? '' : ' (resolver.doh-canary: true asks Firefox not to)';
  return [fine(check, `nothing but what programs ask by HTTPS or TLS of their own${canary}`)];
}

/** Only where the file is what gets changed. */
export function checkResolvConf({ configuration }: Pick<DoctorContext, 'configuration'>): readonly Finding[] {
  const check = 'resolv-conf';
  const { owner, resolver } = configuration;
  if (resolver.reach !== 'resolv-conf' && resolver.reach !== 'auto') {
    return [fine(check, `resolver.reach leaves ${RESOLV_CONF} as it is`)];
  }
  const obstacle = findObstacle({ owner });
  if (obstacle === undefined) return [fine(check, `${RESOLV_CONF} is a file that can be changed`)];
  const { problem, remedy } = obstacle;
  const other = hostServers(RESOLV_CONF).addresses.length > 0;
  if (resolver.reach === 'auto' && other) {
    return [fine(check, `${problem.replace(/\.$/, '')}; resolver.reach: auto tries other ways first`)];
  }
  const link = problem.includes('symbolic link');
  return [
    {
      check,
      severity: 'warning',
      what: problem.replace(/\.$/, ''),
      remedy,
      ...(link ? { command: `cp --remove-destination "$(readlink -f ${RESOLV_CONF})" ${RESOLV_CONF}` } : {}),
    },
  ];
}
