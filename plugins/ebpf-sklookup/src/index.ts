/** @weir/ebpf-sklookup: captures by an sk_lookup BPF program on the network namespace. Priority 300. */
import { API_VERSION, cleanUpRoutes, defineInterceptor, definePlugin, ROUTED_CAPABILITIES } from '@weir/core';
import { deviceName } from './anchor.ts';
import { SkLookupInterceptor } from './interceptor.ts';
import { skLookupOptions } from './options.ts';
import { planOf } from './plan.ts';
import { pointsOn } from './points.ts';

export const ebpfSklookup = defineInterceptor({
  id: 'ebpf-sklookup',
  priority: 300,
  built: true,
  capabilities: ROUTED_CAPABILITIES,
  options: skLookupOptions,
  module: new URL(import.meta.url),
  points: pointsOn,
  plan: planOf,
  create: (context, options) => new SkLookupInterceptor(context, options),
  cleanUp: async (context) => cleanUpRoutes(context, deviceName(context.numbers)),
});

export default definePlugin({ name: '@weir/ebpf-sklookup', apiVersion: API_VERSION, interceptors: [ebpfSklookup] });
