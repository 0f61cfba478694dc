/** Configurations for embedders: the same document, checks and defaults as a file, without a file. */
import { loadConfiguration } from '../config/load.ts';
import type { Configuration } from '../config/model.ts';
import { loadDefinitions } from '../registry/definitions.ts';

/**
 * @param document what weir.yaml would hold, as plain data
 * @throws ConfigurationError with all faults; their lines are those of the document as indented JSON
 */
export function configuration(document: Readonly<Record<string, unknown>>): Promise<Configuration> {
  return loadConfiguration({
    file: 'configuration()',
    text: JSON.stringify(document, undefined, 2),
    definitions: loadDefinitions,
  });
}
