/** Weir's public surface. Contracts for plugins and embedders; everything else is reached through the engine. */
export * from './api/index.ts';
export * from './capture/index.ts';
export { NatLookup } from './dataplane/nat-lookup.ts';
export * from './host/capture-routes/index.ts';
export {
  CONTROL_GROUPS,
  controlGroupMount,
  namesControlGroups,
  presentGroups,
  presentOwners,
} from './host/control-groups.ts';
export { hostFacts } from './host/facts.ts';
export { OwnChanges } from './host/own-changes.ts';
export { OWN_SOURCE_RANGE } from './host/own-source-range.ts';
export { TPROXY_CAPABILITIES, tproxyPoints, usablePoints } from './host/tproxy-points.ts';
export { routingSteps, tproxyFamilies } from './host/tproxy-routing.ts';
export { cleanUpTproxyRouting, LiveTproxyRouting } from './host/tproxy-routing-live.ts';
export type { Configuration } from './config/model.ts';
export { configuration, configurationFile } from './engine/configuration.ts';
export { Weir, type StartOptions } from './engine/engine.ts';
export type { DriftEvent, WeirEvents, WeirListener, WeirListeners } from './engine/events.ts';
export type * from './engine/report.ts';
