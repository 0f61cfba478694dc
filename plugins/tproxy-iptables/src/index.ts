/** @weir/tproxy-iptables: captures by TPROXY with iptables and ip6tables. Priority 400: tried when nft cannot. */
import { API_VERSION, defineInterceptor, definePlugin, TPROXY_CAPABILITIES, tproxyPoints } from '@weir/core';
import { cleanUp } from './clean-up.ts';
import { TproxyIptablesInterceptor } from './interceptor.ts';
import { type TproxyIptablesOptions, tproxyIptablesOptions } from './options.ts';
import { planOf } from './plan.ts';

export const tproxyIptables = defineInterceptor<TproxyIptablesOptions>({
  id: 'tproxy-iptables',
  priority: 400,
  built: true,
  capabilities: TPROXY_CAPABILITIES,
  options: tproxyIptablesOptions,
  module: new URL(import.meta.url),
  points: tproxyPoints,
  plan: (input) => planOf(input),
  create: (context, options) => new TproxyIptablesInterceptor(context, options),
  cleanUp,
});

export default definePlugin({ name: '@weir/tproxy-iptables', apiVersion: API_VERSION, interceptors: [tproxyIptables] });
