/** Rules and routes of others that stand where Weir's would. Checks `preferences` and `tables`. */
import type { Family } from '../api/flow.ts';
import { listRoutes } from '../sys/netlink/route.ts';
import { formatRule, listRules, type ListedRule } from '../sys/netlink/rule.ts';
import { NETLINK_ROUTE } from '../sys/netlink/constants.ts';
import { NetlinkSocket } from '../sys/netlink/socket.ts';
import type { DoctorContext } from './context.ts';
import { fine, type Finding } from './report.ts';

const FAMILIES: readonly Family[] = [4, 6];
const BLOCK = 16;
/** Where blocks are looked for when the usual one is taken; below `main`, and far from what people choose by hand. */
const FIRST_PREFERENCE = 10_016;
const LAST_PREFERENCE = 32_000;
const FIRST_TABLE = 24_000;
const LAST_TABLE = 60_000;

export interface ForeignRule extends ListedRule {
  readonly text: string;
}

/** All rules that Weir did not make. */
export function foreignRules(protocol: number): readonly ForeignRule[] {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  return FAMILIES.flatMap((family) =>
    listRules(socket, family)
      .filter((rule) => rule.protocol !== protocol)
      .map((rule) => ({ ...rule, text: `ip ${family === 6 ? '-6 ' : ''}rule ${formatRule(rule)}` })),
  );
}

const inBlock = (value: number, first: number): boolean => value >= first && value < first + BLOCK;

function freeBlock(first: number, last: number, taken: readonly number[]): number | undefined {
  for (let start = first; start <= last; start += BLOCK) {
    if (!taken.some((value) => inBlock(value, start))) return start;
  }
  return undefined;
}

/** The last block below a preference that nobody uses; 0 is the kernel's own rule. */
function blockBefore(preference: number, taken: readonly number[]): number | undefined {
  for (let start = preference - BLOCK; start >= 1; start--) {
    if (!taken.some((value) => inBlock(value, start))) return start;
  }
  return undefined;
}

function collision(
  check: 'preferences' | 'tables',
  what: string,
  key: 'capture.preference' | 'capture.table',
  free: number | undefined,
): Finding {
  const finding = { check, severity: 'problem', what } as const;
  if (free === undefined) return { ...finding, remedy: `Set ${key} to a block of ${BLOCK} that nobody uses.` };
  return {
    ...finding,
    remedy: `Set ${key}: ${free} in the configuration.`,
    setting: { key, value: free },
  };
}

/** Rules that are asked before ours, take every packet, and have a route for it: marks then lead nowhere. */
function overtaking(rules: readonly ForeignRule[], first: number): readonly ForeignRule[] {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const defaults = FAMILIES.flatMap((family) =>
    listRoutes(socket, family)
      .filter(({ destination }) => destination.length === 0)
      .map(({ table }) => `${family} ${table}`),
  );
  return rules.filter(({ preference, complete, action, family, table, not, from, to, iif, fwmark, uids, ...rest }) => {
    const selective = [not, from, to, iif, fwmark, uids, rest.ipProtocol, rest.ports].some(
      (part) => part !== undefined,
    );
    return (
      preference < first && complete && !selective && action === undefined && defaults.includes(`${family} ${table}`)
    );
  });
}

function overtaken(rule: ForeignRule, earlier: number | undefined): Finding {
  const what = `\`${rule.text}\` takes every packet before Weir's rules are asked`;
  const finding = { check: 'preferences', severity: 'problem', what } as const;
  if (earlier === undefined) return { ...finding, remedy: 'Give that rule a preference behind those of Weir.' };
  return {
    ...finding,
    remedy: `Set capture.preference: ${earlier} in the configuration.`,
    setting: { key: 'capture.preference', value: earlier },
  };
}

export function checkPreferences({ numbers }: Pick<DoctorContext, 'numbers'>): readonly Finding[] {
  const rules = foreignRules(numbers.protocolId);
  const taken = rules.map(({ preference }) => preference);
  const { preference: first, preferenceBehindMain: behind } = numbers;
  const findings = rules
    .filter(({ preference }) => inBlock(preference, first))
    .map(({ text }) =>
      collision(
        'preferences',
        `\`${text}\` stands among the preferences ${first}–${first + BLOCK - 1} that Weir uses`,
        'capture.preference',
        freeBlock(FIRST_PREFERENCE, LAST_PREFERENCE, taken),
      ),
    );
  const late = rules.filter(({ preference }) => preference === behind);
  const behindMain = late.map(({ text, family, preference }): Finding => {
    const ip = family === 6 ? 'ip -6' : 'ip';
    return {
      check: 'preferences',
      severity: 'warning',
      what: `\`${text}\` has the preference ${behind}, by which Weir reaches captured prefixes without a route`,
      remedy: 'Give that rule another preference.',
      command: `${ip} rule del pref ${preference}`,
    };
  });
  const early = overtaking(rules, first);
  const earliest = Math.min(...early.map(({ preference }) => preference));
  const before = early.length === 0 ? undefined : blockBefore(earliest, taken);
  const all = [...findings, ...early.map((rule) => overtaken(rule, before)), ...behindMain];
  if (all.length > 0) return all;
  return [fine('preferences', `the rule preferences ${first}–${first + BLOCK - 1} and ${behind} are free or Weir's`)];
}

export function checkTables({ numbers }: Pick<DoctorContext, 'numbers'>): readonly Finding[] {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const { table: first, protocolId } = numbers;
  const foreign = FAMILIES.flatMap((family) =>
    listRoutes(socket, family).filter((route) => route.protocol !== protocolId && route.table > 0),
  );
  const rules = foreignRules(protocolId);
  const taken = [...foreign, ...rules].map(({ table }) => table);
  const free = freeBlock(FIRST_TABLE, LAST_TABLE, taken);
  const tables = [...new Set(foreign.map(({ table }) => table))].filter((table) => inBlock(table, first));
  const findings = [
    ...tables.map((table) =>
      collision('tables', `the routing table ${table} holds routes of somebody else`, 'capture.table', free),
    ),
    ...rules
      .filter(({ table }) => inBlock(table, first) && !tables.includes(table))
      .map(({ text, table }) =>
        collision('tables', `\`${text}\` leads to the routing table ${table}`, 'capture.table', free),
      ),
  ];
  if (findings.length > 0) return findings;
  return [fine('tables', `the routing tables ${first}–${first + BLOCK - 1} are free or Weir's`)];
}
