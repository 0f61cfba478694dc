/** `weir config schema`: the JSON Schema of a configuration file, for editors. */
import { configurationJsonSchema } from '../../config/json-schema.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../exit-code.ts';

export function configSchema(context: CommandContext): number {
  // Always over lines: it is saved to a file and read by people.
  context.stdout.write(`${JSON.stringify(configurationJsonSchema(), undefined, 2)}\n`);
  return EXIT.done;
}
