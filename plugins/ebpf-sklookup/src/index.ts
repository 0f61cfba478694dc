/** @weir/ebpf-sklookup: captures by an sk_lookup BPF program on the network namespace. Priority 300. */
import { API_VERSION, cleanUpRoutes, defineInterceptor, definePlugin } from '@weir/core';
import { deviceName } from './anchor.ts';
import { SkLookupInterceptor } from './interceptor.ts';
import { skLookupOptions } from './options.ts';
import { planOf } from './plan.ts';
import { pointsOn } from './points.ts';

export const ebpfSklookup = defineInterceptor({
  id: 'ebpf-sklookup',
  priority: 300,
  built: true,
  capabilities: {
    networks: [
      { family: 4, protocol: 'tcp' },
      { family: 6, protocol: 'tcp' },
      { family: 4, protocol: 'udp' },
      { family: 6, protocol: 'udp' },
    ],
    scopes: ['output', 'forward'],
    transparent: true,
    // Local flows get Weir's own source address with the route that brings them here; forwarded ones keep theirs.
    preservesSource: false,
    owners: ['uid'],
    // Services may name them; the program does not see the mark of Weir's own sockets.
    ownAddresses: false,
  },
  options: skLookupOptions,
  module: new URL(import.meta.url),
  points: pointsOn,
  plan: planOf,
  create: (context, options) => new SkLookupInterceptor(context, options),
  cleanUp: async (context) => cleanUpRoutes(context, deviceName(context.numbers)),
});

export default definePlugin({ name: '@weir/ebpf-sklookup', apiVersion: API_VERSION, interceptors: [ebpfSklookup] });
