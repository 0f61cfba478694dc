/** Policy routing rules: RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE. linux/fib_rules.h, ip-rule(8). */
import type { Family } from '../../api/flow.ts';
import { AF_INET, AF_INET6 } from '../constants.ts';
import { attributeText, attributeU32, attributeU8, parseAttributes, readText, readU32, readU8 } from './attribute.ts';
import {
  FR_ACT_TO_TBL,
  FRA_DST,
  FRA_FWMARK,
  FRA_FWMASK,
  FRA_IIFNAME,
  FRA_PRIORITY,
  FRA_PROTOCOL,
  FRA_SRC,
  FRA_TABLE,
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

/** A rule that sends packets to a routing table. */
export interface RoutingRule {
  readonly family: Family;
  readonly preference: number;
  readonly table: number;
  /** Matches packets with `(mark & mask) === value`. */
  readonly fwmark?: { readonly value: number; readonly mask: number };
  /** Name of the device that packets came in by; `lo` for those of this host. */
  readonly iif?: string;
  /** FRA_PROTOCOL: who made it. 0: nobody said. */
  readonly protocol: number;
}

/** A rule as the kernel lists it. */
export interface ListedRule extends RoutingRule {
  /** False for rules with selectors or actions that {@link RoutingRule} does not express. */
  readonly complete: boolean;
}

/** In the notation of ip-rule(8), without `ip rule add`. */
export function formatRule(rule: RoutingRule): string {
  const words = [`pref ${rule.preference}`];
  if (rule.iif !== undefined) words.push(`iif ${rule.iif}`);
  if (rule.fwmark) words.push(`fwmark 0x${rule.fwmark.value.toString(16)}/0x${rule.fwmark.mask.toString(16)}`);
  words.push(`lookup ${rule.table}`, `protocol ${rule.protocol}`);
  return words.join(' ');
}

function encodeRule(rule: RoutingRule): Buffer {
  const header = Buffer.alloc(HEADER);
  header[0] = rule.family === 4 ? AF_INET : AF_INET6;
  header[4] = rule.table < 256 ? rule.table : RT_TABLE_COMPAT;
  header[7] = FR_ACT_TO_TBL;
  const parts = [header, attributeU32(FRA_PRIORITY, rule.preference), attributeU32(FRA_TABLE, rule.table)];
  if (rule.fwmark) parts.push(attributeU32(FRA_FWMARK, rule.fwmark.value), attributeU32(FRA_FWMASK, rule.fwmark.mask));
  if (rule.iif !== undefined) parts.push(attributeText(FRA_IIFNAME, rule.iif));
  parts.push(attributeU8(FRA_PROTOCOL, rule.protocol));
  return Buffer.concat(parts);
}

// The selectors of RoutingRule and what the kernel adds to every rule (suppress_prefixlen 14, pad 18).
const EXPRESSED = new Set([FRA_PRIORITY, FRA_TABLE, FRA_FWMARK, FRA_FWMASK, FRA_IIFNAME, FRA_PROTOCOL, 14, 18]);

function decodeRule(family: Family, message: NetlinkMessage): ListedRule | undefined {
  const { payload } = message;
  if (payload.length < HEADER) return undefined;
  const attributes = parseAttributes(payload.subarray(HEADER));
  const iif = readText(attributes, FRA_IIFNAME);
  const value = readU32(attributes, FRA_FWMARK);
  const mask = readU32(attributes, FRA_FWMASK);
  const complete =
    payload[7] === FR_ACT_TO_TBL &&
    payload.readUInt32LE(8) === 0 &&
    payload[3] === 0 &&
    attributes.get(FRA_DST) === undefined &&
    attributes.get(FRA_SRC) === undefined &&
    [...attributes.keys()].every((type) => EXPRESSED.has(type));
  return {
    family,
    preference: readU32(attributes, FRA_PRIORITY) ?? 0,
    table: readU32(attributes, FRA_TABLE) ?? (payload[4] as number),
    ...(mask === undefined ? {} : { fwmark: { value: value ?? 0, mask } }),
    ...(iif === undefined ? {} : { iif }),
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

export function ruleAddition(rule: RoutingRule): NetlinkRequest {
  return {
    type: RTM_NEWRULE,
    flags: NLM_F_CREATE | NLM_F_EXCL,
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
