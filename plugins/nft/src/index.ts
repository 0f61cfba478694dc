/** @weir/nft: captures by TPROXY with nftables. Priority 500: tried first. */
import {
  API_VERSION,
  defineInterceptor,
  definePlugin,
  keyedOptions,
  TPROXY_CAPABILITIES,
  tproxyPoints,
} from '@weir/core';
import { cleanUp } from './clean-up.ts';
import { NftInterceptor } from './interceptor.ts';
import { planOf } from './plan.ts';

export const nft = defineInterceptor({
  id: 'nft',
  priority: 500,
  built: true,
  capabilities: TPROXY_CAPABILITIES,
  options: keyedOptions({}),
  module: new URL(import.meta.url),
  points: tproxyPoints,
  plan: (input) => planOf(input),
  create: (context) => new NftInterceptor(context),
  cleanUp: async (context) => cleanUp(context),
});

export default definePlugin({ name: '@weir/nft', apiVersion: API_VERSION, interceptors: [nft] });
