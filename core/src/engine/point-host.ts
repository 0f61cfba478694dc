/** Pointing the host at the resolver that listens, and the proof that it worked. */
import { SelfTestError } from '../api/errors.ts';
import type { Logger } from '../api/logger.ts';
import type { ResolverConfiguration } from '../config/model.ts';
import type { NameService } from '../resolvers/name-service.ts';

/** @throws as `NameService.claimSystem`; SelfTestError when the test failed and is `fatal`. */
export async function pointHost(
  names: NameService,
  test: ResolverConfiguration['test'],
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  await names.claimSystem(signal);
  if (test === 'off') return;
  try {
    await prove(names, log, signal);
  } catch (error) {
    if (!(error instanceof SelfTestError) || test === 'fatal') throw error;
    log.warn({ reason: error.problem, remedy: error.remedy }, 'the resolver self-test failed');
  }
}

/** What `auto` chose to capture and does not get here is reached in another way. */
async function prove(names: NameService, log: Logger, signal: AbortSignal): Promise<void> {
  try {
    await names.selfTest(signal);
  } catch (error) {
    if (!(error instanceof SelfTestError) || !(await names.claim.giveUpCapture(error.problem))) throw error;
    log.warn({ reason: error.problem }, 'capturing queries of this host does not work here');
    await names.claimSystem(signal);
    await names.selfTest(signal);
  }
}
