/** `weir plugins`: which plugins a run would load, and what each brings. Starts and changes nothing. */
import type { Registry } from '../../registry/registry.ts';
import { loadPlugins } from '../../registry/load.ts';
import { configurationOrDefaults, type GivenOptions } from '../configuration.ts';
import { type CommandContext, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { table } from '../table.ts';

interface Brought {
  /** The package name or path by which it was loaded. */
  readonly plugin: string;
  readonly kind: 'interceptor' | 'dialer' | 'resolver';
  readonly name: string;
  /** Interceptors and resolvers: the highest is tried first. */
  readonly priority?: number;
}

function broughtBy(registry: Registry): readonly Brought[] {
  const found: Brought[] = [];
  for (const { id, priority } of registry.interceptors()) {
    found.push({ plugin: registry.sourceOf('interceptor', id), kind: 'interceptor', name: id, priority });
  }
  for (const type of [...registry.dialerTypes.keys()].sort()) {
    found.push({ plugin: registry.sourceOf('dialer type', type), kind: 'dialer', name: type });
  }
  for (const { id, priority } of registry.resolvers()) {
    found.push({ plugin: registry.sourceOf('resolver', id), kind: 'resolver', name: id, priority });
  }
  return found;
}

/** @throws PluginError when one cannot be loaded; ConfigurationError; UsageError when a file that is named is not there. */
export async function plugins(
  context: CommandContext,
  file: string | undefined,
  options: GivenOptions & { readonly json?: boolean },
): Promise<number> {
  const configuration = await configurationOrDefaults(context, file, options);
  const registry = await loadPlugins(configuration.plugins);
  const brought = broughtBy(registry);
  if (options.json === true) {
    writeJson(context.stdout, { plugins: brought, missing: registry.missing });
    return EXIT.done;
  }
  const columns = [
    { title: 'KIND' },
    { title: 'NAME' },
    { title: 'PRIORITY', align: 'right' as const },
    { title: 'PLUGIN' },
  ];
  const rows = brought.map(({ kind, name, priority, plugin }) => [kind, name, priority?.toString() ?? '-', plugin]);
  context.stdout.write(table(context.stdout, columns, rows));
  for (const { name, reason } of registry.missing) context.stdout.write(`${name}: ${reason}\n`);
  return EXIT.done;
}
