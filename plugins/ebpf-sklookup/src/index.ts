/** @weir/ebpf-sklookup: captures by an sk_lookup program in the network namespace. Not built yet. */
import { announceInterceptor, API_VERSION, definePlugin } from '@weir/core';

export const ebpfSklookup = announceInterceptor({
  id: 'ebpf-sklookup',
  priority: 300,
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
    owners: ['uid'],
  },
  module: new URL(import.meta.url),
});

export default definePlugin({ name: '@weir/ebpf-sklookup', apiVersion: API_VERSION, interceptors: [ebpfSklookup] });
