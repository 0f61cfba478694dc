/** Worker threads that plugins ask for through their context (tun reads its device in one). */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { PluginError } from '../api/errors.ts';
import type { Pump } from '../api/interceptor.ts';

/**
 * Starts `module` in a thread with `data` as its workerData; resolves when the thread runs. The module ends by itself
 * when it gets the message `stop`.
 * @throws PluginError when the module cannot be run.
 */
export async function runPump(module: URL, data: unknown): Promise<Pump> {
  const thread = new Worker(module, { workerData: data });
  try {
    await once(thread, 'online');
  } catch (error) {
    throw new PluginError({
      problem: `The pump ${module.href} could not be started.`,
      remedy: 'Update or mend the plugin that asked for it.',
      cause: error,
    });
  }
  let gone = false;
  thread.once('exit', () => {
    gone = true;
  });
  return {
    post: (message) => thread.postMessage(message),
    async stop() {
      if (gone) return;
      const exit = once(thread, 'exit');
      thread.postMessage('stop');
      await exit;
    },
  };
}
