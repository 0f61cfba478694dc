/** Check `capabilities`: what this process may do. capabilities(7). */
import { type Capability, hasCapability } from '../sys/capabilities.ts';
import type { DoctorContext } from './context.ts';
import { fine, type Finding } from './report.ts';

const CHECK = 'capabilities';

export function checkPrivileges({ configuration }: Pick<DoctorContext, 'configuration'>): readonly Finding[] {
  const low = configuration.resolver.listen.some(({ endpoint }) => endpoint.port > 0 && endpoint.port < 1024);
  const wanted: ReadonlyArray<readonly [Capability, string]> = [
    ['CAP_NET_ADMIN', 'routes, rules and marks cannot be set, so that only the proxy interceptor works'],
    ...(low
      ? [['CAP_NET_BIND_SERVICE', 'the resolver cannot listen on a port below 1024'] as [Capability, string]]
      : []),
  ];
  const missing = wanted.filter(([capability]) => !hasCapability(capability));
  if (missing.length === 0) {
    return [fine(CHECK, `this process has ${wanted.map(([capability]) => capability).join(' and ')}`)];
  }
  return missing.map(([capability, consequence]) => ({
    check: CHECK,
    severity: 'warning',
    what: `this process does not have ${capability}: ${consequence}`,
    remedy: `Run Weir as root, or give it ${capability} (AmbientCapabilities= of a systemd unit).`,
  }));
}
