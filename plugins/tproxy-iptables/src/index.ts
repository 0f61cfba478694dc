/** @weir/tproxy-iptables: captures by TPROXY with iptables and ip6tables. Priority 400: tried when nft cannot. */
import { API_VERSION, defineInterceptor, definePlugin } from '@weir/core';
import { cleanUp } from './clean-up.ts';
import { TproxyIptablesInterceptor } from './interceptor.ts';
import { type TproxyIptablesOptions, tproxyIptablesOptions } from './options.ts';
import { planOf } from './plan.ts';
import { pointsOn } from './points.ts';

export const tproxyIptables = defineInterceptor<TproxyIptablesOptions>({
  id: 'tproxy-iptables',
  priority: 400,
  built: true,
  capabilities: {
    networks: [
      { family: 4, protocol: 'tcp' },
      { family: 6, protocol: 'tcp' },
    ],
    scopes: ['output'],
    transparent: true,
    preservesSource: true,
    owners: ['uid', 'gid'],
  },
  options: tproxyIptablesOptions,
  module: new URL(import.meta.url),
  points: pointsOn,
  plan: (input) => planOf(input),
  create: (context, options) => new TproxyIptablesInterceptor(context, options),
  cleanUp,
});

export default definePlugin({ name: '@weir/tproxy-iptables', apiVersion: API_VERSION, interceptors: [tproxyIptables] });
