/**
 * The numbers an owner may use: marks, routing tables, rule preferences. Each owner holds one of 16 slots of its network
 * namespace by flock; a slot's numbers never meet another's. The slot is written to the state directory, so that a
 * successor takes the same one and finds what was left.
 *
 *   mask 0x3f000000 · bypass 0x20000000 (shared) · capture 0x10000000 | slot << 24
 *   tables 22497 + 16 × slot … + 15 · preferences 9500 + 16 × slot … + 15 · behind main 32800 + slot
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostChangeError } from '../api/errors.ts';
import type { HostNumbers } from '../api/host.ts';
import type { CaptureConfiguration } from '../config/model.ts';
import { isLocked, tryLock, type HeldLock } from './lock.ts';
import { knownOwners, networkNamespaceInode, stateDirectory, stateRoot } from './state-directory.ts';

export const SLOTS = 16;

export const MARK_MASK = 0x3f000000;
export const BYPASS_MARK = 0x20000000;
const CAPTURE_MARK = 0x10000000;
const FIRST_TABLE = 22497;
const FIRST_PREFERENCE = 9500;
const BEHIND_MAIN = 32800;
const BLOCK = 16;

/** rtm_protocol and FRA_PROTOCOL of everything Weir adds; unused in iproute2's rt_protos. */
export const PROTOCOL_ID = 87;

/** The numbers of a slot, with what the configuration fixes put over them. */
export function numbersOf(slot: number, capture?: CaptureConfiguration): HostNumbers {
  const mark = capture && capture.mark !== 'auto' ? capture.mark : undefined;
  return {
    slot,
    mask: mark?.mask ?? MARK_MASK,
    captureMark: mark?.capture ?? CAPTURE_MARK | (slot << 24),
    bypassMark: mark?.bypass ?? BYPASS_MARK,
    table: capture && capture.table !== 'auto' ? capture.table : FIRST_TABLE + BLOCK * slot,
    preference: capture && capture.preference !== 'auto' ? capture.preference : FIRST_PREFERENCE + BLOCK * slot,
    preferenceBehindMain: BEHIND_MAIN + slot,
    protocolId: PROTOCOL_ID,
  };
}

function slotDirectory(): string {
  return join(stateRoot(), `slots@${networkNamespaceInode()}`);
}

function slotLock(slot: number): string {
  return join(slotDirectory(), `${slot}.lock`);
}

/** The numbers that an owner's state directory records, if any: those of its last or living run. */
export function recordedNumbers(owner: string): HostNumbers | undefined {
  try {
    const numbers = JSON.parse(readFileSync(join(stateDirectory(owner), 'numbers.json'), 'utf8')) as HostNumbers;
    return Number.isInteger(numbers.slot) && numbers.slot >= 0 && numbers.slot < SLOTS ? numbers : undefined;
  } catch {
    return undefined;
  }
}

function recordedSlot(owner: string): number | undefined {
  return recordedNumbers(owner)?.slot;
}

/** Slots that neither a living process holds nor another owner's state directory records. */
export function orphanSlots(owner: string): readonly number[] {
  const taken = new Set(
    knownOwners()
      .filter((other) => other !== owner)
      .map(recordedSlot),
  );
  const free: number[] = [];
  for (let slot = 0; slot < SLOTS; slot++) {
    if (!taken.has(slot) && !isLocked(slotLock(slot))) free.push(slot);
  }
  return free;
}

export interface ClaimedNumbers {
  readonly numbers: HostNumbers;
  release(): void;
}

/**
 * Claims the slot recorded for this owner, or the first free one, and records its numbers.
 * @throws HostChangeError when all 16 are held.
 */
export function claimNumbers(owner: string, capture: CaptureConfiguration): ClaimedNumbers {
  mkdirSync(slotDirectory(), { recursive: true, mode: 0o700 });
  const recorded = recordedSlot(owner);
  const candidates = [...(recorded === undefined ? [] : [recorded]), ...orphanSlots(owner)];
  for (const slot of candidates) {
    const lock: HeldLock | undefined = tryLock(slotLock(slot), 'slot');
    if (!lock) continue;
    const numbers = numbersOf(slot, capture);
    writeFileSync(join(stateDirectory(owner), 'numbers.json'), JSON.stringify(numbers), { mode: 0o600 });
    return { numbers, release: () => lock.release() };
  }
  throw new HostChangeError({
    problem: `All ${SLOTS} slots of this network namespace are held by other owners (${knownOwners().join(', ')}).`,
    remedy: 'Stop one of them, or run `weir cleanup --all` to free the slots of dead ones.',
  });
}
