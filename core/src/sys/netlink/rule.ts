/** Policy routing rules: RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE. linux/fib_rules.h, ip-rule(8). */
import type { Family, Prefix } from '../../api/flow.ts';
import {
  addressToBytes,
  bytesToAddress,
  formatPrefix,
  numberToAddress,
  parsePrefix,
  widthOf,
} from '../../capture/address.ts';
import { AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP } from '../constants.ts';
import {
  attribute,
  type Attributes,
  attributeText,
  attributeU32,
  attributeU8,
  parseAttributes,
  readText,
  readU32,
  readU8,
} from './attribute.ts';
import {
  FIB_RULE_INVERT,
  FR_ACT_GOTO,
  FR_ACT_NOP,
  FR_ACT_TO_TBL,
  FRA_DPORT_MASK,
  FRA_DPORT_RANGE,
  FRA_DST,
  FRA_FWMARK,
  FRA_FWMASK,
  FRA_GOTO,
  FRA_IIFNAME,
  FRA_IP_PROTO,
  FRA_PRIORITY,
  FRA_PROTOCOL,
  FRA_SRC,
  FRA_SUPPRESS_PREFIXLEN,
  FRA_TABLE,
  FRA_UID_RANGE,
  NLM_F_CREATE,
  NLM_F_EXCL,
  RT_TABLE_COMPAT,
  RTM_DELRULE,
  RTM_GETRULE,
  RTM_NEWRULE,
} from './constants.ts';
import type { NetlinkMessage } from './message.ts';
import type { NetlinkRequest, NetlinkSocket } from './socket.ts';

/**
 * struct fib_rule_hdr (linux/fib_rules.h): family u8 · dst_len u8 · src_len u8 · tos u8 · table u8 · res1 u8 · res2 u8 ·
 * action u8 · flags u32.
 */
const HEADER = 12;

/** Both bounds are inclusive. */
export interface RuleRange {
  readonly first: number;
  readonly last: number;
}

/** A rule that sends packets to a routing table, to a later rule, or nowhere. All selectors must match. */
export interface RoutingRule {
  readonly family: Family;
  readonly preference: number;
  /** The routing table; 0 for rules with another action. */
  readonly table: number;
  /** Instead of a table: `nop` only is a target, `goto` leads to the first rule of that later preference. */
  readonly action?: 'nop' | { readonly goto: number };
  /** Matches what the selectors, all together, do not. */
  readonly not?: boolean;
  /** In IPv4 `0.0.0.0/32` is a source that is not chosen yet; in IPv6 no prefix matches such a source. */
  readonly from?: Prefix;
  readonly to?: Prefix;
  /** Matches packets with `(mark & mask) === value`. */
  readonly fwmark?: { readonly value: number; readonly mask: number };
  /** Name of the device that packets came in by; `lo` for those of this host. */
  readonly iif?: string;
  /** Users of the sending sockets. */
  readonly uids?: RuleRange;
  /** IPPROTO_TCP, IPPROTO_UDP or another one. */
  readonly ipProtocol?: number;
  /** Destination ports; the kernel takes neither 0 nor 65535 here. */
  readonly ports?: RuleRange;
  /** FRA_PROTOCOL: who made it. 0: nobody said. */
  readonly protocol: number;
}

/** A rule as the kernel lists it. */
export interface ListedRule extends RoutingRule {
  /** False for rules with selectors or actions that {@link RoutingRule} does not express. */
  readonly complete: boolean;
}

const PROTOCOLS: Readonly<Record<number, string>> = { [IPPROTO_TCP]: 'tcp', [IPPROTO_UDP]: 'udp' };

/** In the notation of ip-rule(8), without `ip rule add`. */
export function formatRule(rule: RoutingRule): string {
  const { fwmark, uids, ipProtocol, ports, action } = rule;
  const words = [`pref ${rule.preference}`];
  if (rule.not) words.push('not');
  if (rule.from) words.push(`from ${formatPrefix(rule.from)}`);
  if (rule.to) words.push(`to ${formatPrefix(rule.to)}`);
  if (rule.iif !== undefined) words.push(`iif ${rule.iif}`);
  if (fwmark) words.push(`fwmark 0x${fwmark.value.toString(16)}/0x${fwmark.mask.toString(16)}`);
  if (uids) words.push(`uidrange ${uids.first}-${uids.last}`);
  if (ipProtocol !== undefined) words.push(`ipproto ${PROTOCOLS[ipProtocol] ?? ipProtocol}`);
  if (ports) words.push(`dport ${ports.first === ports.last ? ports.first : `${ports.first}-${ports.last}`}`);
  if (action === undefined) words.push(`lookup ${rule.table}`);
  else words.push(action === 'nop' ? 'nop' : `goto ${action.goto}`);
  words.push(`protocol ${rule.protocol}`);
  return words.join(' ');
}

function prefixAttribute(type: number, prefix: Prefix): Buffer {
  return attribute(type, addressToBytes(numberToAddress(prefix.family, prefix.address)));
}

function actionOf({ action }: RoutingRule): number {
  if (action === undefined) return FR_ACT_TO_TBL;
  return action === 'nop' ? FR_ACT_NOP : FR_ACT_GOTO;
}

function encodeRule(rule: RoutingRule): Buffer {
  const header = Buffer.alloc(HEADER);
  header[0] = rule.family === 4 ? AF_INET : AF_INET6;
  header[1] = rule.to?.length ?? 0;
  header[2] = rule.from?.length ?? 0;
  header[4] = rule.table < 256 ? rule.table : RT_TABLE_COMPAT;
  header[7] = actionOf(rule);
  header.writeUInt32LE(rule.not ? FIB_RULE_INVERT : 0, 8);
  const parts = [header, attributeU32(FRA_PRIORITY, rule.preference), attributeU32(FRA_TABLE, rule.table)];
  if (rule.fwmark) parts.push(attributeU32(FRA_FWMARK, rule.fwmark.value), attributeU32(FRA_FWMASK, rule.fwmark.mask));
  if (rule.iif !== undefined) parts.push(attributeText(FRA_IIFNAME, rule.iif));
  if (rule.from) parts.push(prefixAttribute(FRA_SRC, rule.from));
  if (rule.to) parts.push(prefixAttribute(FRA_DST, rule.to));
  if (rule.uids) parts.push(pair(FRA_UID_RANGE, rule.uids, 4));
  if (rule.ipProtocol !== undefined) parts.push(attributeU8(FRA_IP_PROTO, rule.ipProtocol));
  if (rule.ports) parts.push(pair(FRA_DPORT_RANGE, rule.ports, 2));
  if (typeof rule.action === 'object') parts.push(attributeU32(FRA_GOTO, rule.action.goto));
  parts.push(attributeU8(FRA_PROTOCOL, rule.protocol));
  return Buffer.concat(parts);
}

/** struct fib_rule_port_range of u16, struct fib_rule_uid_range of u32. */
function pair(type: number, { first, last }: RuleRange, bytes: 2 | 4): Buffer {
  const value = Buffer.alloc(2 * bytes);
  value.writeUIntLE(first, 0, bytes);
  value.writeUIntLE(last, bytes, bytes);
  return attribute(type, value);
}

// The selectors of RoutingRule; 18 is padding.
const EXPRESSED = new Set([
  FRA_PRIORITY,
  FRA_TABLE,
  FRA_FWMARK,
  FRA_FWMASK,
  FRA_IIFNAME,
  FRA_PROTOCOL,
  FRA_SRC,
  FRA_DST,
  FRA_UID_RANGE,
  FRA_IP_PROTO,
  FRA_DPORT_RANGE,
  FRA_GOTO,
  18,
]);

// Flags that say how a rule stands and not what it is: permanent 0x1, unresolved 0x4, iif detached 0x8, oif detached 0x10.
const STATE_FLAGS = 0x1d;

function prefixOf(family: Family, bytes: Buffer | undefined, length: number): Prefix | undefined {
  if (bytes?.length === widthOf(family) / 8) return parsePrefix(`${bytesToAddress(bytes)}/${length}`);
  // `from 0.0.0.0/32` has a length and no address.
  return length > 0 ? { family, address: 0n, length } : undefined;
}

function rangeOf(attributes: Attributes, type: number, bytes: 2 | 4): RuleRange | undefined {
  const value = attributes.get(type);
  if (!value || value.length < 2 * bytes) return undefined;
  return { first: value.readUIntLE(0, bytes), last: value.readUIntLE(bytes, bytes) };
}

// What kernels say of every rule: no route is suppressed for its length; since 6.15 of ports, that all their bits count.
function saysNothing(type: number, bytes: Buffer): boolean {
  const isAllOnes = bytes.every((byte) => byte === 0xff);
  return isAllOnes && (type === FRA_SUPPRESS_PREFIXLEN || type === FRA_DPORT_MASK);
}

function listedAction(number: number, attributes: Attributes): RoutingRule['action'] {
  if (number === FR_ACT_NOP) return 'nop';
  return number === FR_ACT_GOTO ? { goto: readU32(attributes, FRA_GOTO) ?? 0 } : undefined;
}

function decodeRule(family: Family, message: NetlinkMessage): ListedRule | undefined {
  const { payload } = message;
  if (payload.length < HEADER) return undefined;
  const attributes = parseAttributes(payload.subarray(HEADER));
  const iif = readText(attributes, FRA_IIFNAME);
  const value = readU32(attributes, FRA_FWMARK);
  const mask = readU32(attributes, FRA_FWMASK);
  const flags = payload.readUInt32LE(8) & ~STATE_FLAGS;
  const number = payload[7] as number;
  const action = listedAction(number, attributes);
  const to = prefixOf(family, attributes.get(FRA_DST), payload[1] as number);
  const from = prefixOf(family, attributes.get(FRA_SRC), payload[2] as number);
  const uids = rangeOf(attributes, FRA_UID_RANGE, 4);
  const ipProtocol = readU8(attributes, FRA_IP_PROTO);
  const ports = rangeOf(attributes, FRA_DPORT_RANGE, 2);
  const complete =
    [FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP].includes(number) &&
    (flags & ~FIB_RULE_INVERT) === 0 &&
    payload[3] === 0 &&
    [...attributes].every(([type, bytes]) => EXPRESSED.has(type) || saysNothing(type, bytes));
  return {
    family,
    preference: readU32(attributes, FRA_PRIORITY) ?? 0,
    table: readU32(attributes, FRA_TABLE) ?? (payload[4] as number),
    ...(action === undefined ? {} : { action }),
    ...((flags & FIB_RULE_INVERT) === 0 ? {} : { not: true }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(mask === undefined ? {} : { fwmark: { value: value ?? 0, mask } }),
    ...(iif === undefined ? {} : { iif }),
    ...(uids === undefined ? {} : { uids }),
    ...(ipProtocol === undefined ? {} : { ipProtocol }),
    ...(ports === undefined ? {} : { ports }),
    protocol: readU8(attributes, FRA_PROTOCOL) ?? 0,
    complete,
  };
}

/** All rules of a family, in the order in which the kernel asks them. */
export function listRules(socket: NetlinkSocket, family: Family): readonly ListedRule[] {
  const header = Buffer.alloc(HEADER);
  header[0] = family === 4 ? AF_INET : AF_INET6;
  return socket
    .dump(RTM_GETRULE, header, `list the IPv${family} rules`)
    .filter((message) => message.type === RTM_NEWRULE)
    .map((message) => decodeRule(family, message))
    .filter((rule) => rule !== undefined);
}

/**
 * EEXIST when there is one that the kernel takes for the same: one that says more of source or destination than this one
 * is among those.
 * @param again adds it all the same; then it may be there twice.
 */
export function ruleAddition(rule: RoutingRule, again?: 'again'): NetlinkRequest {
  return {
    type: RTM_NEWRULE,
    flags: again === undefined ? NLM_F_CREATE | NLM_F_EXCL : NLM_F_CREATE,
    payload: encodeRule(rule),
    describe: `add the IPv${rule.family} rule ${formatRule(rule)}`,
  };
}

/** Removes the first rule that has all of the given properties. ENOENT when there is none. */
export function ruleRemoval(rule: RoutingRule): NetlinkRequest {
  return {
    type: RTM_DELRULE,
    flags: 0,
    payload: encodeRule(rule),
    describe: `delete the IPv${rule.family} rule ${formatRule(rule)}`,
  };
}
