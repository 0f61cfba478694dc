/** `weir plan`: the exact kernel changes that `weir run` would make, in the notation of the tools. Changes nothing. */
import type { PlanStep } from '../../api/interceptor.ts';
import { configurationReader, type GivenOptions } from '../configuration.ts';
import { type CommandContext, paint, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';

/** What is fed to each tool, as a shell would be told. */
const FEED: Readonly<Record<PlanStep['tool'], string>> = {
  nft: 'nft -f -',
  'iptables-restore': 'iptables-restore --noflush',
  'ip6tables-restore': 'ip6tables-restore --noflush',
  ip: 'ip -batch -',
  'ip -6': 'ip -6 -batch -',
  sysctl: 'sysctl -p -',
  bpf: 'bpf(2)',
  listen: 'sockets',
};

export async function plan(
  context: CommandContext,
  file: string | undefined,
  options: GivenOptions & { readonly json?: boolean },
): Promise<number> {
  const reader = await configurationReader(context, file, options);
  const configuration = await reader.read();
  const { planFor } = await import('../../engine/plan.ts');
  const planned = await planFor(configuration);
  if (options.json === true) {
    writeJson(context.stdout, planned);
    return EXIT.done;
  }
  const { stdout } = context;
  // Everything that is not fed to a tool is a comment, in case somebody does feed it.
  const comment = (text: string) => stdout.write(`${paint(stdout, 'gray', `# ${text}`)}\n`);
  comment(`interceptor ${planned.interceptor}, owner ${configuration.owner}`);
  for (const note of planned.notes) comment(note);
  for (const step of planned.steps) {
    stdout.write('\n');
    comment(FEED[step.tool]);
    stdout.write(`${step.text.trimEnd()}\n`);
  }
  return EXIT.done;
}
