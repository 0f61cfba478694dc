import { API_VERSION, definePlugin } from '@weir/core';
import { interceptor } from './interceptor.ts';
import { dialer } from './proxy-v2.ts';
import { resolver } from './spelled.ts';

export default definePlugin({
  name: 'weir-plugin-tally',
  apiVersion: API_VERSION,
  dialers: [dialer],
  interceptors: [interceptor],
  resolvers: [resolver],
});
