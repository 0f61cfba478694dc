/** @weir/nft: captures by TPROXY with nftables. Priority 500: tried first. */
import { API_VERSION, defineInterceptor, definePlugin } from '@weir/core';
import { cleanUp } from './clean-up.ts';
import { NftInterceptor } from './interceptor.ts';
import { nftOptions } from './options.ts';
import { planOf } from './plan.ts';
import { pointsOn } from './points.ts';

export const nft = defineInterceptor({
  id: 'nft',
  priority: 500,
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
    preservesSource: true,
    owners: ['uid', 'gid', 'cgroup'],
  },
  options: nftOptions,
  module: new URL(import.meta.url),
  points: pointsOn,
  plan: (input) => planOf(input),
  create: (context) => new NftInterceptor(context),
  cleanUp: async (context) => cleanUp(context),
});

export default definePlugin({ name: '@weir/nft', apiVersion: API_VERSION, interceptors: [nft] });
