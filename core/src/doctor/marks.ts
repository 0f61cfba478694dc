/** Check `marks`: others that use, or wipe out, the bits of the fwmark that Weir uses. */
import type { DoctorContext } from './context.ts';
import { foreignChains, type FirewallRule } from './firewall.ts';
import { fine, type Finding } from './report.ts';
import { foreignRules, type ForeignRule } from './routing-rules.ts';

const CHECK = 'marks';
const ALL = 0xffff_ffff;

interface MarkBits {
  readonly mask: number;
  readonly capture: number;
  readonly bypass: number;
}

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/** Six bits that nobody else uses: the usual ones first, then any. */
function freeBits(used: number): MarkBits | undefined {
  for (const shift of [24, 18, 16, 12, 8, 4, 2, 0, 26, 22, 20, 14, 10, 6]) {
    const mask = (0x3f << shift) >>> 0;
    if ((mask & used) === 0) return { mask, capture: (0x10 << shift) >>> 0, bypass: (0x20 << shift) >>> 0 };
  }
  return undefined;
}

function usedBits(rules: readonly FirewallRule[], routing: readonly ForeignRule[]): number {
  let used = 0;
  for (const { changes, compares } of rules) {
    for (const { sets } of changes) used |= sets;
    for (const value of compares) used |= value;
  }
  for (const { fwmark } of routing) used |= fwmark?.value ?? 0;
  return used >>> 0;
}

function taken(what: string, bits: number, free: MarkBits | undefined): Finding {
  const finding = {
    check: CHECK,
    severity: 'problem',
    what: `${what} uses the bits ${hex(bits)} of Weir's mark`,
  } as const;
  if (free === undefined) return { ...finding, remedy: 'Have that rule use other bits; none are free for Weir.' };
  const { mask, capture, bypass } = free;
  const setting = `{ mask: ${hex(mask)}, capture: ${hex(capture)}, bypass: ${hex(bypass)} }`;
  return {
    ...finding,
    remedy: `Set capture.mark: ${setting} in the configuration.`,
    setting: { key: 'capture.mark', value: free },
  };
}

/** A rule that rewrites whole marks takes Weir's bits from packets that carry them. */
function wiping(rule: FirewallRule, mask: number): Finding | undefined {
  const cleared = rule.changes.find(({ clears }) => (clears & mask) !== 0);
  if (cleared === undefined) return undefined;
  const certain = rule.conditions.every(({ kind }) => kind !== 'other');
  return {
    check: CHECK,
    severity: certain ? 'problem' : 'warning',
    what: `${rule.text} clears the bits ${hex(cleared.clears & mask)} of Weir's mark${certain ? '' : ' on some packets'}`,
    remedy: `Have it keep these bits (in nft: meta mark set meta mark & ${hex(mask)} | …), or remove it.`,
    command: rule.removal,
  };
}

export function checkMarks({ firewall, numbers }: Pick<DoctorContext, 'firewall' | 'numbers'>): readonly Finding[] {
  const { mask } = numbers;
  const rules = foreignChains(firewall, ['output', 'prerouting']).flatMap((chain) => chain.rules);
  const routing = foreignRules(numbers.protocolId);
  const free = freeBits(usedBits(rules, routing));
  const findings: Finding[] = [];
  for (const rule of rules) {
    const own = [...rule.changes.map(({ sets }) => sets), ...rule.compares].map((bits) => (bits & mask) >>> 0);
    const bits = own.reduce((all, one) => all | one, 0) >>> 0;
    if (bits !== 0) findings.push(taken(rule.text, bits, free));
    const wiped = wiping(rule, mask);
    if (wiped !== undefined) findings.push(wiped);
  }
  for (const { text, fwmark } of routing) {
    const bits = ((fwmark?.value ?? 0) & mask) >>> 0;
    if (bits !== 0 && fwmark?.mask !== ALL) findings.push(taken(`the rule \`${text}\``, bits, free));
  }
  return findings.length > 0 ? findings : [fine(CHECK, `nobody else uses the bits ${hex(mask)} of the fwmark`)];
}
