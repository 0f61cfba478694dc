/** Capabilities of the calling thread. capabilities(7), linux/capability.h. */
import { readFileSync } from 'node:fs';

const BITS = {
  CAP_NET_BIND_SERVICE: 10,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_BPF: 39,
} as const;

export type Capability = keyof typeof BITS;

/** The effective set as a number; `undefined` where /proc cannot tell. */
export function effectiveCapabilities(): bigint | undefined {
  try {
    const found = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'utf8'));
    return found ? BigInt(`0x${found[1]}`) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether the thread has it. In a user namespace that means: over what this namespace owns. True where /proc cannot
 * tell, since the call itself will.
 */
export function hasCapability(capability: Capability): boolean {
  const set = effectiveCapabilities();
  return set === undefined || (set & (1n << BigInt(BITS[capability]))) !== 0n;
}
