/** Weir's public surface. Contracts for plugins and embedders; everything else is reached through the engine. */
export * from './api/index.ts';
export * from './capture/index.ts';
export { hostFacts } from './host/facts.ts';
