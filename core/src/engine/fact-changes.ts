/** What is different about a host, in words for its operator. */
import type { HostFacts } from '../api/host.ts';

/** Empty exactly when nothing that the engine looks at has changed. */
export function factChanges(before: HostFacts, after: HostFacts): readonly string[] {
  const groups = ({ controlGroups = [] }: HostFacts) => controlGroups.map(({ path, id }) => `${path} (id ${id})`);
  return [
    ...(before.ipv6 === after.ipv6 ? [] : [after.ipv6 ? 'IPv6 is on' : 'IPv6 is off']),
    ...listChanges('address', before.ownAddresses, after.ownAddresses),
    ...listChanges('network', before.connectedNetworks, after.connectedNetworks),
    ...valueChange('IPv4 source', before.globalIpv4, after.globalIpv4),
    ...valueChange('IPv6 source', before.globalIpv6, after.globalIpv6),
    ...listChanges('control group', groups(before), groups(after)),
  ];
}

function listChanges(what: string, before: readonly string[], after: readonly string[]): readonly string[] {
  const [old, now] = [new Set(before), new Set(after)];
  return [
    ...after.filter((one) => !old.has(one)).map((one) => `${what} ${one} came`),
    ...before.filter((one) => !now.has(one)).map((one) => `${what} ${one} went`),
  ];
}

function valueChange(what: string, before: string | undefined, after: string | undefined): readonly string[] {
  return before === after ? [] : [`${what} is ${after ?? 'none'}`];
}
