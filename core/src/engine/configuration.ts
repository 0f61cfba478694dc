/** Configurations for embedders: the same document, checks and defaults as a file, without a file. */
import type { Configuration } from '../config/model.ts';

/**
 * @param document what weir.yaml would hold, as plain data
 * @throws ConfigurationError with all faults; their lines are those of the document as indented JSON
 */
export async function configuration(document: Readonly<Record<string, unknown>>): Promise<Configuration> {
  const [{ loadConfiguration }, { loadDefinitions }] = await loaders();
  return loadConfiguration({
    file: 'configuration()',
    text: JSON.stringify(document, undefined, 2),
    definitions: loadDefinitions,
  });
}

/**
 * @param file a YAML file, as `weir run` takes it; the environment is not looked at
 * @throws ConfigurationError with all faults; UsageError when there is no such file; NotPermittedError
 */
export async function configurationFile(file: string): Promise<Configuration> {
  const [{ loadConfiguration }, { loadDefinitions }] = await loaders();
  return loadConfiguration({ file, definitions: loadDefinitions });
}

/** Only who reads a configuration pays for the schema: plugins and workers import this package too. */
function loaders(): Promise<[typeof import('../config/load.ts'), typeof import('../registry/definitions.ts')]> {
  return Promise.all([import('../config/load.ts'), import('../registry/definitions.ts')]);
}
