/** @weir/proxy: captures nothing: a listener for each service with `listen:`. Priority 100: the last resort of `auto`. */
import { API_VERSION, defineInterceptor, definePlugin, keyedOptions } from '@weir/core';
import { ProxyInterceptor } from './interceptor.ts';
import { planOf } from './plan.ts';
import { pointsOf } from './points.ts';

export const proxy = defineInterceptor({
  id: 'proxy',
  priority: 100,
  built: true,
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
  options: keyedOptions({}),
  module: new URL(import.meta.url),
  points: (_facts, listeners = []) => pointsOf(listeners),
  plan: (input) => planOf(input),
  create: (context) => new ProxyInterceptor(context),
  // Listeners are gone with the process that had them.
  cleanUp: async () => [],
});

export default definePlugin({ name: '@weir/proxy', apiVersion: API_VERSION, interceptors: [proxy] });
