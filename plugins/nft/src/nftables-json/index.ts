/** libnftables-json(5): types, builders and a renderer to native syntax. */
export * as build from './build.ts';
export * from './render.ts';
export type * from './types.ts';
