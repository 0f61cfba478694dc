/** What the keeper becomes when Weir died: argv is the owner. Its output goes to keeper.log in the state directory. */
import { createLogger } from '../observe/logger.ts';
import { useOwnModules } from '../sys/own-modules.ts';
import { cleanUp } from './cleanup.ts';

useOwnModules();
const [, , owner = 'default'] = process.argv;
const log = createLogger({ level: 'info', format: 'json' });
try {
  const removed = await cleanUp({ owner, role: 'keeper', log });
  log.info({ owner, removed }, 'Weir ended without stopping; the host was put back');
} catch (error) {
  log.error(
    { owner, reason: error instanceof Error ? error.message : String(error) },
    'the host could not be put back',
  );
  process.exitCode = 1;
}
