/** `weir version`: versions and platform, for reports. */
import { release } from 'node:os';
import { VERSION } from '../../version.ts';
import { type CommandContext, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';

export function version(context: CommandContext, options: { readonly json?: boolean }): number {
  const facts = { weir: VERSION, node: process.versions.node, kernel: release(), architecture: process.arch };
  if (options.json === true) writeJson(context.stdout, facts);
  else context.stdout.write(`weir ${facts.weir} (Node ${facts.node}, Linux ${facts.kernel}, ${facts.architecture})\n`);
  return EXIT.done;
}
