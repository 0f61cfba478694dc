/** `weir check`: is the configuration right? Changes nothing and needs no privilege. */
import { ConfigurationError, WeirError } from '../../api/errors.ts';
import { suitable } from '../../engine/selection.ts';
import { loadPlugins } from '../../registry/load.ts';
import { configurationReader, type GivenOptions } from '../configuration.ts';
import { type CommandContext, writeJson } from '../context.ts';
import { EXIT, exitCodeOf } from '../exit-code.ts';
import { counted } from '../units.ts';

export async function check(
  context: CommandContext,
  file: string | undefined,
  options: GivenOptions & { readonly json?: boolean },
): Promise<number> {
  const reader = await configurationReader(context, file, options);
  try {
    const configuration = await reader.read();
    const registry = await loadPlugins(configuration.plugins);
    // Where a package is missing, another machine than the one that runs it is asked.
    if (registry.missing.length === 0) suitable(configuration, registry.interceptors());
    const services = configuration.services.map((service) => service.name);
    const { interceptor, owner } = configuration;
    if (options.json === true) {
      writeJson(context.stdout, { file: reader.file, valid: true, owner, interceptor, services, faults: [] });
    } else {
      const chosen = interceptor === 'auto' ? 'auto' : interceptor.join(', ');
      context.stdout.write(
        `${reader.file} is right: ${counted(services.length, 'service')}, owner ${owner}, interceptor ${chosen}\n`,
      );
    }
    return EXIT.done;
  } catch (error) {
    if (options.json !== true || !(error instanceof WeirError)) throw error;
    const { code, problem, remedy } = error;
    const faults = error instanceof ConfigurationError ? error.faults : [];
    writeJson(context.stdout, { file: reader.file, valid: false, faults, error: { code, problem, remedy } });
    return exitCodeOf(error);
  }
}
