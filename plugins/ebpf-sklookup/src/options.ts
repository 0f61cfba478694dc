/** Options under `interceptors.ebpf-sklookup` of a configuration. */
import { keyedOptions, type OwnSourceOptions, sourceFault, type StandardSchema } from '@weir/core';

export type SkLookupOptions = OwnSourceOptions;

export const skLookupOptions: StandardSchema<SkLookupOptions> = keyedOptions<SkLookupOptions>({
  'source-ipv4': (value) => sourceFault(4, value),
  'source-ipv6': (value) => sourceFault(6, value),
});
