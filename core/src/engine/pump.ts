/** Worker threads that plugins ask for through their context (tun reads its device in one). */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { PluginError } from '../api/errors.ts';
import type { Pump } from '../api/interceptor.ts';

/** How long a module may take until it is ready. Milliseconds. */
const START = 10_000;

/**
 * Starts `module` in a thread with `data` as its workerData; resolves when the module has posted `ready`. The module ends
 * by itself when it gets the message `stop`.
 * @param died is told once when the thread ends without having been asked to.
 * @throws PluginError when the module cannot be run, or is not ready within ten seconds.
 */
export async function runPump(module: URL, data: unknown, died: (error: Error) => void): Promise<Pump> {
  const thread = new Worker(module, { workerData: data });
  let gone = false;
  let stopping = false;
  let cause: unknown;
  // Without a listener an error of the thread would be one of this process.
  thread.on('error', (error: unknown) => {
    cause = error;
  });
  try {
    await ready(thread);
  } catch (error) {
    await thread.terminate();
    throw new PluginError({
      problem: `The pump ${module.href} could not be started.`,
      remedy: 'Update or mend the plugin that asked for it.',
      cause: error,
    });
  }
  thread.once('exit', (code) => {
    gone = true;
    if (stopping) return;
    const reason = cause instanceof Error ? cause.message : `exit ${code}`;
    died(
      new PluginError({
        problem: `The pump ${module.href} ended by itself (${reason}).`,
        remedy: 'Start Weir again; report it when it happens twice.',
        cause,
      }),
    );
  });
  return {
    post: (message) => thread.postMessage(message),
    async stop() {
      stopping = true;
      if (gone) return;
      const exit = once(thread, 'exit');
      thread.postMessage('stop');
      await exit;
    },
  };
}

async function ready(thread: Worker): Promise<void> {
  const signal = AbortSignal.timeout(START);
  const exited = once(thread, 'exit', { signal }).then(() => Promise.reject(new Error('it ended at once')));
  const [message] = (await Promise.race([once(thread, 'message', { signal }), exited])) as [unknown];
  exited.catch(() => undefined);
  if (message !== 'ready') throw new Error(`its first message was ${JSON.stringify(message)} and not "ready"`);
}
