/** The packet filters of the host in one form, whichever tool made them; as much of it as Weir has to do with. */

/** One thing that a rule asks of a packet. `other` is anything that the doctor does not follow. */
export type Condition =
  | { readonly kind: 'device'; readonly names: readonly string[]; readonly negated: boolean }
  | { readonly kind: 'state'; readonly states: readonly string[]; readonly negated: boolean }
  | { readonly kind: 'mark'; readonly mask: number; readonly value: number; readonly negated: boolean }
  | { readonly kind: 'tcp' }
  | { readonly kind: 'other' };

export type Verdict = 'accept' | 'drop' | 'return' | { readonly jump: string } | { readonly goto: string };

/** What a rule does to the bits of a mark. Unsigned. */
export interface MarkChange {
  readonly sets: number;
  readonly clears: number;
}

export interface FirewallRule {
  readonly conditions: readonly Condition[];
  readonly verdict?: Verdict;
  readonly changes: readonly MarkChange[];
  /** Values that marks are compared with. */
  readonly compares: readonly number[];
  readonly tproxy: boolean;
  readonly notrack: boolean;
  /** As its tool writes it. */
  readonly text: string;
  /** The command that removes it. */
  readonly removal: string;
}

export interface FirewallChain {
  /** The table, with what tells it from others of that name, e.g. `nft inet theirs`, `iptables-legacy filter`. */
  readonly table: string;
  readonly name: string;
  /** Whose, where it is a Weir's. */
  readonly owner?: string;
  readonly hook?: string;
  readonly policy?: 'accept' | 'drop';
  readonly rules: readonly FirewallRule[];
  /** The command that lets in what comes by the loopback device, before all other rules of the chain. */
  readonly acceptLoopback: string;
}

export interface Firewall {
  readonly chains: readonly FirewallChain[];
  /** Owners of Weir's tables and chains that were found. */
  readonly owners: readonly string[];
  /** Why the picture is not whole, one sentence each. */
  readonly unseen: readonly string[];
}

/** Jumps are followed this deep; the kernel allows 16. */
const DEPTH = 16;

export function chainOf(firewall: Firewall, from: FirewallChain, name: string): FirewallChain | undefined {
  return firewall.chains.find((chain) => chain.table === from.table && chain.name === name);
}

/** The chains of one or several hooks, and all that they lead to; Weir's own left out. */
export function foreignChains(firewall: Firewall, hooks: readonly string[]): readonly FirewallChain[] {
  const reached = new Set<FirewallChain>();
  const visit = (chain: FirewallChain): void => {
    if (reached.has(chain) || chain.owner !== undefined) return;
    reached.add(chain);
    for (const { verdict } of chain.rules) {
      if (typeof verdict !== 'object') continue;
      const next = chainOf(firewall, chain, 'jump' in verdict ? verdict.jump : verdict.goto);
      if (next !== undefined) visit(next);
    }
  };
  for (const chain of firewall.chains) if (chain.hook !== undefined && hooks.includes(chain.hook)) visit(chain);
  return [...reached];
}

/** The packet that is followed: the first one of a captured connection of this host, on its way back in. */
function matches(condition: Condition, mark: number): boolean {
  switch (condition.kind) {
    case 'device':
      return condition.names.includes('lo') !== condition.negated;
    case 'state':
      return condition.states.includes('new') !== condition.negated;
    case 'mark':
      return ((mark & condition.mask) >>> 0 === condition.value) !== condition.negated;
    case 'tcp':
      return true;
    case 'other':
      return false;
  }
}

/** What a base chain does to the captured packet: `drop` only where that is certain. */
export function verdictOn(firewall: Firewall, base: FirewallChain, mark: number): 'accept' | 'drop' {
  const walk = (chain: FirewallChain, depth: number): 'accept' | 'drop' | 'return' => {
    for (const { conditions, verdict } of chain.rules) {
      if (verdict === undefined || !conditions.every((condition) => matches(condition, mark))) continue;
      if (typeof verdict === 'string') return verdict;
      const next =
        depth < DEPTH ? chainOf(firewall, chain, 'jump' in verdict ? verdict.jump : verdict.goto) : undefined;
      const outcome = next === undefined ? 'return' : walk(next, depth + 1);
      if (outcome !== 'return' || 'goto' in verdict) return outcome;
    }
    return 'return';
  };
  const outcome = walk(base, 0);
  return outcome === 'return' ? (base.policy ?? 'accept') : outcome;
}
