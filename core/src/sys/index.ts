/**
 * System calls for plugins: unstable, exempt from the semver promise of `@weir/core`. Plugins that bind a library of
 * their own do it with `openLibrary`.
 */
export * from './affinity.ts';
export * from './capabilities.ts';
export * from './constants.ts';
export * from './epoll.ts';
export * from './errno.ts';
export * from './internet-checksum.ts';
export { addressOf, errno, openLibrary, opaque, type Library } from './library.ts';
export * as libc from './libc.ts';
export { MessageBatch, type BatchOptions } from './message-batch.ts';
export * from './netlink/index.ts';
export * from './netns.ts';
export * from './sockaddr.ts';
export * from './sockets.ts';
export * from './sysctl.ts';
export * from './tun.ts';
