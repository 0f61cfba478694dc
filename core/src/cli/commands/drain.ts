/** `weir drain`: the running instance takes no new flows and waits for the living ones. */
import { type CommandContext, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { runningInstance, type RunningOptions } from '../running.ts';
import { counted } from '../units.ts';

export async function drain(context: CommandContext, options: RunningOptions): Promise<number> {
  const { remaining } = await runningInstance(context, options).drain();
  if (options.json === true) writeJson(context.stdout, { remaining });
  else if (remaining === 0) context.stdout.write('drained: no flow is left\n');
  else context.stdout.write(`the time for draining is over: ${counted(remaining, 'flow')} left\n`);
  return EXIT.done;
}
