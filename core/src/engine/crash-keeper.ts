/** The keeper of a run: should this process die, it becomes the clean-up in cleanup-process.ts. */
import { fileURLToPath } from 'node:url';
import { startKeeper, type Keeper } from '../host/keeper.ts';

const CLEANUP_PROCESS = new URL(`./cleanup-process.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);

/**
 * @param directory the owner's state directory
 * @throws HostChangeError when it cannot be started
 */
export function startCrashKeeper(owner: string, directory: string): Promise<Keeper> {
  return startKeeper([process.execPath, ...process.execArgv, fileURLToPath(CLEANUP_PROCESS), owner], directory);
}
