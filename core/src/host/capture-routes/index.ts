/** Routes and rules for mechanisms that see whole prefixes; see routing.ts. */
export { ROUTED_CAPABILITIES } from './capabilities.ts';
export { type ClassRouteStyle, ipTool, routingLines } from './class-routes.ts';
export { LiveRouting, placementsOf, updateRouting } from './live-routing.ts';
export * from './own-device.ts';
export * from './own-sources.ts';
export type { Placement } from './placement.ts';
export { NOTHING, type PortClass, PortClasses, type PortRange } from './port-class.ts';
export { keyOf, type PrefixKey } from './prefix-key.ts';
export {
  familiesOf,
  type FamilyRouting,
  ownAddressTest,
  protocolsOf,
  type RoutedMechanism,
  type RoutingOptions,
  routingOf,
} from './routing.ts';
