/** Check `conntrack` and `tproxy`: rules of others that do what Weir does, or take away what it builds on. */
import type { DoctorContext } from './context.ts';
import { foreignChains } from './firewall.ts';
import { fine, type Finding } from './report.ts';

export function checkTproxyUsers({ firewall }: Pick<DoctorContext, 'firewall'>): readonly Finding[] {
  const found = foreignChains(firewall, ['prerouting']).flatMap(({ rules }) => rules.filter(({ tproxy }) => tproxy));
  if (found.length === 0) return [fine('tproxy', 'nobody else uses TPROXY')];
  return found.map(({ text, removal }) => ({
    check: 'tproxy',
    severity: 'warning',
    what: `${text} uses TPROXY too: what both want goes to the one that is asked first`,
    remedy: 'Keep what it captures out of the services or exclude it; or remove the rule.',
    command: removal,
  }));
}

export function checkNotrack({ firewall }: Pick<DoctorContext, 'firewall'>): readonly Finding[] {
  const chains = foreignChains(firewall, ['output', 'prerouting']);
  const found = chains.flatMap(({ rules }) => rules.filter(({ notrack }) => notrack));
  if (found.length === 0) return [fine('conntrack', 'no rule takes packets out of connection tracking')];
  return found.map(({ text, removal, conditions }) => {
    const certain = conditions.every(({ kind }) => kind !== 'other');
    return {
      check: 'conntrack',
      severity: certain ? 'problem' : 'warning',
      what: `${text} takes ${certain ? 'packets' : 'some packets'} out of connection tracking, by which nft and tproxy-iptables know what they have captured`,
      remedy: 'Leave what Weir captures out of that rule, or remove it; ebpf-sklookup does without.',
      command: removal,
    };
  });
}
