/** Which file a command reads when none was named. */
import { access, constants } from 'node:fs/promises';
import { resolve } from 'node:path';
import { UsageError } from '../api/errors.ts';

export const DEFAULT_FILES: readonly string[] = ['./weir.yaml', '/etc/weir/weir.yaml'];

export const EXAMPLE = `services:
  - { name: web, addresses: [web.internal], ports: [80, 443], dialer: web-server }
dialers: { web-server: { type: direct, to: "10.0.0.5:8080" } }
`;

/**
 * The given file, else the first default that exists.
 * @throws UsageError with an example when there is none.
 */
export async function findConfigurationFile(given: string | undefined, directory = process.cwd()): Promise<string> {
  if (given !== undefined && given !== '') return given;
  for (const candidate of DEFAULT_FILES) {
    try {
      await access(resolve(directory, candidate), constants.F_OK);
      return candidate === './weir.yaml' ? 'weir.yaml' : candidate;
    } catch {
      // The next one.
    }
  }
  throw new UsageError({
    problem: `There is no configuration: neither ${DEFAULT_FILES.join(' nor ')} exists.`,
    remedy: `Name a file, as in weir run FILE, or write weir.yaml, for example:\n\n${EXAMPLE}`,
  });
}
