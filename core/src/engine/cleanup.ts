/**
 * Removes what a dead instance left: kernel objects by name and number, the system's resolver from its backup, the state
 * directory. Needs no journal and no instance; `weir cleanup`, the keeper and a new `weir run` all come here.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { AlreadyRunningError, NotPermittedError, WeirError } from '../api/errors.ts';
import type { HostNumbers } from '../api/host.ts';
import type { InterceptorDefinition } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import { forgetCapturedQueries } from '../dns/captured-queries.ts';
import { cleanUpHosts, holdsHosts } from '../dns/hosts-claim.ts';
import { backupPath, cleanUpResolvConf } from '../dns/resolv-conf-claim.ts';
import { readLeftovers } from '../host/change.ts';
import { readHolder, tryLock, waitForLock, type LockHolder } from '../host/lock.ts';
import { numbersOf, orphanSlots, recordedNumbers } from '../host/numbers.ts';
import { knownOwners, makeStateDirectory, stateDirectory } from '../host/state-directory.ts';
import { hasCapability } from '../sys/capabilities.ts';
import { leftoverDefinitions } from './run-plugins.ts';

/** Where names of a dead run are looked for when its state is gone. */
const HOSTS = '/etc/hosts';
/** How long a keeper or another clean-up may take before this one gives up. Milliseconds. */
const OTHERS_TIMEOUT = 10_000;

export interface CleanUpOptions {
  /** `default` when absent. */
  readonly owner?: string;
  /** All dead owners of this network namespace; living ones are left alone. */
  readonly all?: boolean;
  readonly role?: Extract<LockHolder['role'], 'cleanup' | 'keeper'>;
  readonly log: Logger;
}

/**
 * @returns one line per thing that was removed; empty when nothing was left.
 * @throws AlreadyRunningError when the owner lives; NotPermittedError; WeirError when something could not be removed.
 */
export async function cleanUp(options: CleanUpOptions): Promise<readonly string[]> {
  if (options.all !== true) return cleanUpOwner(options.owner ?? 'default', options);
  const removed: string[] = [];
  for (const owner of knownOwners()) {
    try {
      removed.push(...(await cleanUpOwner(owner, options)).map((line) => `${owner}: ${line}`));
    } catch (error) {
      if (!(error instanceof AlreadyRunningError)) throw error;
    }
  }
  return removed;
}

async function cleanUpOwner(owner: string, options: CleanUpOptions): Promise<readonly string[]> {
  const directory = stateDirectory(owner);
  if (!hasCapability('CAP_NET_ADMIN') && mayHoldMore(directory)) {
    throw new NotPermittedError({
      problem: 'What a run has left in the kernel cannot be looked for without privileges.',
      remedy: 'Run `weir cleanup` as root, or with CAP_NET_ADMIN.',
    });
  }
  makeStateDirectory(directory);
  const path = join(directory, 'lock');
  const role = options.role ?? 'cleanup';
  let lock = tryLock(path, role);
  if (lock === undefined && readHolder(path)?.role !== 'run') lock = await waitForLock(path, role, OTHERS_TIMEOUT);
  if (lock === undefined) throw alreadyRunning(owner, readHolder(path));
  try {
    if (!hasCapability('CAP_NET_ADMIN')) {
      removeStateFiles(directory);
      return [`the state directory ${directory}`];
    }
    const removed = await removeLeftovers(owner, await leftoverDefinitions(directory, options.log), options.log);
    removeStateFiles(directory);
    return removed;
  } finally {
    lock.release();
  }
}

/** Not after a run that only listened: it has changed nothing, and its journal says so. */
function mayHoldMore(directory: string): boolean {
  if (!existsSync(directory) || existsSync(backupPath(directory)) || holdsHosts(directory)) return true;
  return readLeftovers(join(directory, 'journal')).length > 0;
}

export function alreadyRunning(owner: string, holder: LockHolder | undefined): AlreadyRunningError {
  return new AlreadyRunningError({
    problem: `Weir with the owner ${owner} runs already in this network namespace${holder ? ` (pid ${holder.pid})` : ''}.`,
    remedy: `Stop it first, or choose another name with --owner.`,
  });
}

/** Removes what a run before this one left behind, and logs what it was. The caller holds the owner's lock. */
export async function removeFormerRun(owner: string, directory: string, log: Logger): Promise<void> {
  const removed = await removeLeftovers(owner, await leftoverDefinitions(directory, log), log);
  if (removed.length > 0) log.warn({ removed }, 'a run before this one had left something behind');
}

/** Removes kernel objects and restores the resolver. The caller holds the owner's lock. */
export async function removeLeftovers(
  owner: string,
  definitions: ReadonlyArray<InterceptorDefinition<never>>,
  log: Logger,
): Promise<readonly string[]> {
  const directory = stateDirectory(owner);
  const recorded = recordedNumbers(owner);
  const blocks: readonly HostNumbers[] =
    recorded === undefined ? orphanSlots(owner).map((slot) => numbersOf(slot)) : [recorded];
  const removed: string[] = [];
  const failures: unknown[] = [];
  // The resolver first: names must not lead to addresses that nothing captures any more.
  try {
    removed.push(...cleanUpResolvConf({ owner, stateDirectory: directory }));
    removed.push(...cleanUpHosts(owner, directory, HOSTS));
  } catch (error) {
    failures.push(error);
  }
  for (const definition of definitions) {
    for (const numbers of blocks) {
      try {
        removed.push(...(await definition.cleanUp({ owner, numbers, log })));
      } catch (error) {
        failures.push(error);
      }
    }
  }
  removed.push(...(await forgetCapturedQueries(directory)));
  const leftovers = readLeftovers(join(directory, 'journal'));
  if (leftovers.length > 0) log.debug({ leftovers }, 'the journal of the last run');
  const [first] = failures;
  if (first !== undefined) {
    if (first instanceof NotPermittedError || failures.length === 1) throw first;
    throw new WeirError('WEIR_HOST_CHANGE', {
      problem: `${failures.length} things could not be removed: ${failures.map((f) => (f as Error).message).join('; ')}.`,
      remedy: 'Mend the causes and run `weir cleanup` again.',
      cause: first,
    });
  }
  return removed;
}

/** Removes what Weir keeps about a run. The directory goes too when nothing else is in it. */
export function removeStateFiles(directory: string): void {
  if (!existsSync(directory)) return;
  rmSync(directory, { recursive: true, force: true });
}
