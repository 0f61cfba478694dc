/** Names that keep their real addresses, on their way to the workers and the kernel. */
import { compareSpecificity, isExactName, namePattern } from '../capture/name-pattern.ts';
import type { RealName } from '../resolvers/real-names.ts';
import type { CapturePlan } from './capture-plan.ts';
import type { NameBinding } from './name-binding.ts';
import type { Steering } from './steering.ts';

export interface RealSteeringParts {
  readonly steering: Steering;
  readonly binding: NameBinding;
  readonly exclusively: (change: () => Promise<void>) => Promise<void>;
}

/**
 * One address can be several names' (behind one CDN, say), and a connection does not say which is meant: it is that one's
 * whose pattern says most, an exact one before all others; among equal ones that of the name that had it first.
 */
export async function steerRealNames(
  { steering, binding, exclusively }: RealSteeringParts,
  names: readonly RealName[],
): Promise<void> {
  if (names.some(({ patternIndex }) => !steering.knowsPattern(patternIndex))) await steering.refreshNames();
  await exclusively(async () => {
    const { plan } = steering;
    if (plan === undefined) return;
    const owned = ownersOf(plan, names);
    const kept = names.map((one) => ({ ...one, addresses: owned.get(one.name) ?? [] }));
    await binding.keep(kept);
    await steering.steerNamed(
      kept.flatMap(({ addresses, patternIndex }) => addresses.map((address) => ({ address, patternIndex }))),
    );
    binding.keepOnly(kept);
  });
}

function ownersOf({ names: { patterns } }: CapturePlan, names: readonly RealName[]): Map<string, string[]> {
  const owner = new Map<string, RealName>();
  for (const one of names) {
    for (const address of one.addresses) {
      const other = owner.get(address);
      if (other === undefined || saysMore(patterns[one.patternIndex], patterns[other.patternIndex])) {
        owner.set(address, one);
      }
    }
  }
  const owned = new Map<string, string[]>();
  for (const [address, { name }] of owner) owned.set(name, [...(owned.get(name) ?? []), address]);
  return owned;
}

function saysMore(one: string | undefined, other: string | undefined): boolean {
  if (one === undefined || other === undefined || one === other) return false;
  if (isExactName(one) !== isExactName(other)) return isExactName(one);
  return compareSpecificity(namePattern(one), namePattern(other)) < 0;
}
