/** Configurations for embedders: the same document, checks and defaults as a file, without a file. */
import type { Configuration } from '../config/model.ts';

/**
 * @param document what weir.yaml would hold, as plain data
 * @throws ConfigurationError with all faults; their lines are those of the document as indented JSON
 */
export async function configuration(document: Readonly<Record<string, unknown>>): Promise<Configuration> {
  // Only who reads a configuration pays for the schema: plugins and workers import this package too.
  const [{ loadConfiguration }, { loadDefinitions }] = await Promise.all([
    import('../config/load.ts'),
    import('../registry/definitions.ts'),
  ]);
  return loadConfiguration({
    file: 'configuration()',
    text: JSON.stringify(document, undefined, 2),
    definitions: loadDefinitions,
  });
}
