/** @weir/tproxy-iptables: captures by TPROXY with iptables and ip6tables. Not built yet. */
import { announceInterceptor, API_VERSION, definePlugin } from '@weir/core';

export const tproxyIptables = announceInterceptor({
  id: 'tproxy-iptables',
  priority: 400,
  capabilities: {
    networks: [
      { family: 4, protocol: 'tcp' },
      { family: 6, protocol: 'tcp' },
      { family: 4, protocol: 'udp' },
      { family: 6, protocol: 'udp' },
    ],
    scopes: ['output', 'forward'],
    transparent: true,
    preservesSource: true,
    owners: ['uid', 'gid', 'cgroup'],
  },
  module: new URL(import.meta.url),
});

export default definePlugin({ name: '@weir/tproxy-iptables', apiVersion: API_VERSION, interceptors: [tproxyIptables] });
