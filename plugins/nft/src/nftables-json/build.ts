/** Builders for the shapes in types.ts, so that rules read like the native syntax. */
import type { NftExpression, NftStatement } from './types.ts';

/** `meta <key>` */
export function meta(key: string): NftExpression {
  return { meta: { key } };
}

/** `ct <key>` */
export function ct(key: string): NftExpression {
  return { ct: { key } };
}

/** `<protocol> <field>` */
export function payload(protocol: string, field: string): NftExpression {
  return { payload: { protocol, field } };
}

/** `a . b . c` */
export function concat(...parts: readonly NftExpression[]): NftExpression {
  return { concat: parts };
}

/** `left & right` */
export function and(left: NftExpression, right: NftExpression): NftExpression {
  return { '&': [left, right] };
}

/** `left | right` */
export function or(left: NftExpression, right: NftExpression): NftExpression {
  return { '|': [left, right] };
}

/** `left right`, `left { … }`, `left @set` */
export function equal(left: NftExpression, right: NftExpression): NftStatement {
  return { match: { op: '==', left, right } };
}

/** `left != right` */
export function differ(left: NftExpression, right: NftExpression): NftStatement {
  return { match: { op: '!=', left, right } };
}

/** `left value` for bit sets such as the conntrack state: one of the bits is set. */
export function within(left: NftExpression, right: NftExpression): NftStatement {
  return { match: { op: 'in', left, right } };
}

/** `{ a, b }` */
export function anyOf(...values: readonly NftExpression[]): NftExpression {
  return { set: values };
}

/** `key set value` */
export function assign(key: NftExpression, value: NftExpression): NftStatement {
  return { mangle: { key, value } };
}

export const ACCEPT: NftStatement = { accept: null };
export const RETURN: NftStatement = { return: null };

export function jump(target: string): NftStatement {
  return { jump: { target } };
}

/** Like `jump`, without coming back. */
export function go(target: string): NftStatement {
  return { goto: { target } };
}
