/**
 * The part of libnftables' JSON schema, version 1, that Weir writes and reads. Names and shapes are those of
 * libnftables-json(5); what the schema allows beyond them is left out.
 */

export type NftFamily = 'inet' | 'ip' | 'ip6' | 'arp' | 'bridge' | 'netdev';

/** A value: a literal, or something that is looked at in the packet. */
export type NftExpression =
  | string
  | number
  | readonly NftExpression[]
  | { readonly meta: { readonly key: string } }
  | { readonly ct: { readonly key: string } }
  /** nft 1.0.6 takes it in native syntax only, and lists it without the level. */
  | { readonly socket: { readonly key: 'cgroupv2'; readonly level: number } }
  | { readonly payload: { readonly protocol: string; readonly field: string } }
  | { readonly fib: { readonly result: 'type'; readonly flags: readonly string[] } }
  | { readonly concat: readonly NftExpression[] }
  | { readonly set: readonly NftExpression[] }
  | { readonly range: readonly [NftExpression, NftExpression] }
  | { readonly prefix: { readonly addr: string; readonly len: number } }
  | { readonly '&': readonly [NftExpression, NftExpression] }
  | { readonly '|': readonly [NftExpression, NftExpression] };

export interface NftMatch {
  readonly op: '==' | '!=' | 'in';
  readonly left: NftExpression;
  readonly right: NftExpression;
}

export type NftStatement =
  | { readonly match: NftMatch }
  | { readonly mangle: { readonly key: NftExpression; readonly value: NftExpression } }
  | { readonly tproxy: { readonly family: 'ip' | 'ip6'; readonly addr: string; readonly port: number } }
  | { readonly reject: { readonly type: 'icmpx'; readonly expr: string } | { readonly type: 'tcp reset' } }
  | { readonly jump: { readonly target: string } }
  | { readonly goto: { readonly target: string } }
  | { readonly accept: null }
  | { readonly return: null };

export interface NftTable {
  readonly family: NftFamily;
  readonly name: string;
}

export interface NftChain {
  readonly family: NftFamily;
  readonly table: string;
  readonly name: string;
  /** The next four stand in base chains only. */
  readonly type?: 'filter' | 'route' | 'nat';
  readonly hook?: string;
  readonly prio?: number;
  readonly policy?: 'accept' | 'drop';
}

export interface NftRule {
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly expr: readonly NftStatement[];
  readonly comment?: string;
}

export interface NftSet {
  readonly family: NftFamily;
  readonly table: string;
  readonly name: string;
  readonly type: string | readonly string[];
  readonly flags?: readonly string[];
  readonly elem?: readonly NftExpression[];
}

/** What names a set. */
export type NftSetName = Pick<NftSet, 'family' | 'table' | 'name'>;

/** Elements alone, for `add element` and `delete element`. */
export interface NftElements {
  readonly family: NftFamily;
  readonly table: string;
  /** The set's name. */
  readonly name: string;
  readonly elem: readonly NftExpression[];
}

/** Exactly one of the keys, as the schema has it. */
export type NftObject =
  | { readonly table: NftTable }
  | { readonly chain: NftChain }
  | { readonly rule: NftRule }
  | { readonly set: NftSet }
  | { readonly element: NftElements };

export type NftCommand =
  | { readonly create: NftObject }
  | { readonly add: NftObject }
  | { readonly delete: Exclude<NftObject, { readonly set: NftSet }> | { readonly set: NftSetName } }
  | { readonly flush: { readonly chain: Pick<NftChain, 'family' | 'table' | 'name'> } };

/** What is applied in one transaction: all of it or nothing. */
export interface NftDocument {
  readonly nftables: readonly NftCommand[];
}

/** What `nft -j list` prints: objects without a command, and a `metainfo` that is of no use. */
export interface NftListing {
  readonly nftables: readonly (NftObject | { readonly metainfo: unknown })[];
}
