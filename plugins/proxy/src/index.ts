/** @weir/proxy: captures nothing by itself: a listener for each service that names one. Not built yet. */
import { announceInterceptor, API_VERSION, definePlugin } from '@weir/core';

export const proxy = announceInterceptor({
  id: 'proxy',
  priority: 100,
  capabilities: {
    networks: [
      { family: 4, protocol: 'tcp' },
      { family: 6, protocol: 'tcp' },
      { family: 4, protocol: 'udp' },
      { family: 6, protocol: 'udp' },
    ],
    scopes: ['explicit'],
    transparent: false,
    preservesSource: false,
    owners: [],
  },
  module: new URL(import.meta.url),
});

export default definePlugin({ name: '@weir/proxy', apiVersion: API_VERSION, interceptors: [proxy] });
