/** @weir/tun: captures by routes to a tun device, where the kernel terminates the flows. Not built yet. */
import { announceInterceptor, API_VERSION, definePlugin } from '@weir/core';

export const tun = announceInterceptor({
  id: 'tun',
  priority: 200,
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

export default definePlugin({ name: '@weir/tun', apiVersion: API_VERSION, interceptors: [tun] });
