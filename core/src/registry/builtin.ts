/** Names of what ships with Weir. No imports: packages are loaded by name, when they are needed. */

/** The interceptor packages by the id of their interceptor, highest priority first. */
export const BUILT_IN_INTERCEPTORS: ReadonlyMap<string, string> = new Map([
  ['nft', '@weir/nft'],
  ['tproxy-iptables', '@weir/tproxy-iptables'],
  ['ebpf-sklookup', '@weir/ebpf-sklookup'],
  ['tun', '@weir/tun'],
  ['proxy', '@weir/proxy'],
]);

export const BUILT_IN_PACKAGES: readonly string[] = [...BUILT_IN_INTERCEPTORS.values()];
