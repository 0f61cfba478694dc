/** @weir/tun: captures by routes to a tun device, where the kernel terminates the flows. Priority 200. */
import { API_VERSION, cleanUpRoutes, defineInterceptor, definePlugin, ROUTED_CAPABILITIES } from '@weir/core';
import { addressesOf, deviceName } from './addresses.ts';
import { TunInterceptor } from './interceptor.ts';
import { type TunOptions, tunOptions } from './options.ts';
import { planOf } from './plan.ts';
import { pointsOn } from './points.ts';

export const tun = defineInterceptor({
  id: 'tun',
  priority: 200,
  built: true,
  capabilities: ROUTED_CAPABILITIES,
  options: tunOptions,
  module: new URL(import.meta.url),
  points: (facts, _listeners, run) => {
    const options = (run?.options ?? {}) as TunOptions;
    return pointsOn(facts, addressesOf(run?.numbers ?? { slot: 0 }, options), options);
  },
  plan: planOf,
  create: (context, options) => new TunInterceptor(context, options),
  cleanUp: async (context) => cleanUpRoutes(context, deviceName(context.numbers)),
});

export default definePlugin({ name: '@weir/tun', apiVersion: API_VERSION, interceptors: [tun] });
