/** How commands get their configuration. Loads YAML, zod and the registry, so commands import it when they need one. */
import { UsageError } from '../api/errors.ts';
import { findConfigurationFile } from '../config/discover.ts';
import { loadConfiguration } from '../config/load.ts';
import type { Configuration } from '../config/model.ts';
import { OVERRIDES, type Flags } from '../config/precedence.ts';
import { loadDefinitions } from '../registry/definitions.ts';
import type { CommandContext } from './context.ts';

/** Options as commander gives them, in camel case. */
export type GivenOptions = Readonly<Record<string, unknown>>;

/** Those of the given options that stand for a setting of the file. */
export function flagsOf(options: GivenOptions): Flags {
  const flags: Record<string, string> = {};
  for (const { flag } of OVERRIDES) {
    const camel = flag.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    const value = options[camel];
    if (typeof value === 'string') flags[flag] = value;
    else if (Array.isArray(value) && value.length > 0) flags[flag] = value.join(',');
  }
  for (const [flag, value] of Object.entries(flags)) {
    if (value === '')
      throw new UsageError({ problem: `--${flag} has no value.`, remedy: 'Give one, or leave it out.' });
  }
  return flags;
}

export interface ConfigurationReader {
  /** As the operator would write it. */
  readonly file: string;
  /** Reads the file again. @throws ConfigurationError */
  read(): Promise<Configuration>;
}

/** @throws UsageError when there is no file at all */
export async function configurationReader(
  context: CommandContext,
  file: string | undefined,
  options: GivenOptions,
): Promise<ConfigurationReader> {
  const found = await findConfigurationFile(file ?? context.environment['WEIR_CONFIG']);
  const flags = flagsOf(options);
  return {
    file: found,
    read: () =>
      loadConfiguration({ file: found, flags, environment: context.environment, definitions: loadDefinitions }),
  };
}

/** For commands that look at the host: the file, or what would hold without any. Flags and environment count in both. */
export async function configurationOrDefaults(
  context: CommandContext,
  file: string | undefined,
  options: GivenOptions,
): Promise<Configuration> {
  try {
    return await (await configurationReader(context, file, options)).read();
  } catch (error) {
    if (file !== undefined || !(error instanceof UsageError)) throw error;
    return loadConfiguration({
      file: 'weir.yaml',
      text: 'services: []\n',
      flags: flagsOf(options),
      environment: context.environment,
      definitions: loadDefinitions,
    });
  }
}
