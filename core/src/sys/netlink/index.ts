/** rtnetlink(7) and what other netlink families need: synchronous, without a process, without iproute2. */
export * from './address.ts';
export * from './attribute.ts';
export * from './constants.ts';
export * from './link.ts';
export type { NetlinkMessage } from './message.ts';
export * from './monitor.ts';
export * from './nftables-monitor.ts';
export * from './nftables.ts';
export * from './route.ts';
export * from './rule.ts';
export { NetlinkError, NetlinkSocket, type NetlinkRequest, settleAll, withRouteSocket } from './socket.ts';
