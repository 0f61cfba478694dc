/** The testing kit: what Weir's own tests use, and authors of third-party plugins can. Needs no test runner. */
export * from './descriptors.ts';
export * from './golden.ts';
export { HostProcess, type Exit } from './host-process.ts';
export { normaliseIptables, normaliseNft, normaliseState } from './host-state.ts';
export type { ResolvConfKind } from './holder.ts';
export * from './netns.ts';
export * from './peers.ts';
export { pattern } from './peers/pattern.ts';
export * from './test-host.ts';
export * from './requirements.ts';
export * from './interceptor-compliance.ts';
export * from './weir-process.ts';
export * from './memory-changes.ts';
export * from './thread-namespace.ts';
export * from './interceptor-instance.ts';
export * from './plan-input.ts';
export * from './single-flows.ts';
export * from './tproxy-instance.ts';
