/** Options under `interceptors.proxy` of a configuration: there are none, and an unknown one is an error. */
import type { StandardSchema } from '@weir/core';

export type ProxyOptions = Readonly<Record<string, never>>;

export const proxyOptions: StandardSchema<ProxyOptions> = {
  '~standard': {
    version: 1,
    vendor: 'weir',
    validate: (value) => {
      if (value === undefined || value === null) return { value: {} };
      if (typeof value !== 'object' || Array.isArray(value)) {
        return { issues: [{ message: 'must be a mapping; the proxy interceptor has no options' }] };
      }
      const issues = Object.keys(value).map((key) => ({
        message: `unknown key "${key}"; the proxy interceptor has no options`,
        path: [key],
      }));
      return issues.length > 0 ? { issues } : { value: {} };
    },
  },
};
