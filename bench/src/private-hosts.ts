/** Private hosts for one command: gone when it ends, fails, or is interrupted. */
import { UnsupportedError } from '@weir/core';
import { missingFor, reexecInUserNamespace, TestNetwork } from '@weir/core/testing';

/** What a shell shows for a program that SIGINT has ended. */
const INTERRUPTED = 130;

/**
 * Runs `body` with a network of private hosts, as root or in a user namespace.
 * @returns the exit code: what `body` says, or 130 when it was interrupted.
 * @throws UnsupportedError where there can be none; whatever `body` throws.
 */
export async function withPrivateHosts(
  say: (text: string) => void,
  body: (net: TestNetwork) => Promise<number>,
): Promise<number> {
  const nested = await reexecInUserNamespace();
  if (nested !== undefined) return nested;
  const missing = missingFor('namespaces');
  if (missing !== undefined) {
    throw new UnsupportedError({ problem: 'The benchmark cannot make private hosts here.', remedy: missing });
  }
  let interrupted = false;
  const net = await TestNetwork.create();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // In the middle of things there is nothing to finish: the private hosts go, and what runs in them.
      interrupted = true;
      void net[Symbol.asyncDispose]();
    });
  }
  try {
    const code = await body(net);
    if (interrupted) throw new Error('interrupted');
    return code;
  } catch (error) {
    if (!interrupted) throw error;
    say('\ninterrupted; the private hosts are gone, and nothing else was changed');
    return INTERRUPTED;
  } finally {
    await net[Symbol.asyncDispose]();
  }
}
