/** Checks that a plugin keeps the contract of `api/plugin.ts`; each breach names the package, the field and the remedy. */
import { PluginError } from '../api/errors.ts';
import { API_VERSION, type Plugin } from '../api/plugin.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Ids that mean something else already. */
const RESERVED: Readonly<Record<string, readonly string[]>> = {
  interceptors: ['auto'],
  dialers: ['reset', 'drop'],
  resolvers: ['assigned', 'reverse', 'hosts', 'upstream', 'doh-canary'],
};
const FIELDS = ['name', 'apiVersion', 'interceptors', 'dialers', 'resolvers'];

function isRecord(value: unknown): value is Fields {
  return (typeof value === 'object' || typeof value === 'function') && value !== null;
}

class Checker {
  readonly #plugin: string;

  constructor(plugin: string) {
    this.#plugin = plugin;
  }

  fail(field: string, what: string, remedy: string): never {
    throw new PluginError({ problem: `The plugin ${this.#plugin} is not usable: ${field} ${what}.`, remedy });
  }

  /** Ids and types are words that people type. */
  word(fields: Fields, field: string, path: string): void {
    const value = fields[field];
    if (typeof value !== 'string' || !/^[a-z][a-z0-9-]{0,62}$/.test(value)) {
      this.fail(`${path}.${field}`, 'is no lower-case word', 'Give it a name of a–z, 0–9 and "-".');
    }
    if (RESERVED[path.replace(/\[.*/, '')]?.includes(value) === true) {
      this.fail(`${path}.${field}`, `is "${value}", which means something else already`, 'Give it another name.');
    }
  }

  priority(fields: Fields, path: string): void {
    if (typeof fields['priority'] !== 'number' || !Number.isFinite(fields['priority'])) {
      this.fail(`${path}.priority`, 'is no finite number', 'Give it a number; nft has 500, proxy 100.');
    }
  }

  functions(fields: Fields, names: readonly string[], path: string): void {
    for (const name of names) {
      if (typeof fields[name] !== 'function') {
        this.fail(`${path}.${name}`, 'is no function', `Implement ${name} as the contract in @weir/core says.`);
      }
    }
  }

  /** What every definition has. */
  common(fields: Fields, path: string): void {
    const options = fields['options'];
    const standard = isRecord(options) ? options['~standard'] : undefined;
    if (!isRecord(standard) || standard['version'] !== 1 || typeof standard['validate'] !== 'function') {
      this.fail(`${path}.options`, 'is no Standard Schema', 'Give it a schema of zod, valibot or your own, version 1.');
    }
    const { module } = fields;
    if (!(module instanceof URL) || module.protocol !== 'file:') {
      this.fail(`${path}.module`, 'is no URL of a file', 'Set it to new URL(import.meta.url).');
    }
  }

  list(fields: Fields, field: string): ReadonlyArray<readonly [Fields, string]> {
    const value = fields[field];
    if (value === undefined) return [];
    if (!Array.isArray(value)) this.fail(field, 'is no list', `Make ${field} a list of definitions, or leave it out.`);
    return (value as unknown[]).map((item, i) => {
      const path = `${field}[${i}]`;
      if (!isRecord(item)) this.fail(path, 'is no definition', 'Put a definition object there.');
      return [item, path] as const;
    });
  }

  interceptor(fields: Fields, path: string): void {
    this.word(fields, 'id', path);
    this.priority(fields, path);
    const capabilities = fields['capabilities'];
    for (const field of ['networks', 'scopes', 'owners']) {
      const value = isRecord(capabilities) ? capabilities[field] : undefined;
      if (!Array.isArray(value) || (field !== 'owners' && value.length === 0)) {
        this.fail(`${path}.capabilities.${field}`, 'is no list with entries', 'Say what the mechanism can do.');
      }
    }
    const { networks, scopes, owners } = capabilities as Readonly<Record<string, readonly unknown[]>>;
    const allowed = (field: string, values: readonly unknown[], fits: (value: unknown) => boolean, words: string) => {
      const place = values.findIndex((value) => !fits(value));
      if (place < 0) return;
      const what = `is ${JSON.stringify(values[place])}`;
      this.fail(`${path}.capabilities.${field}[${place}]`, what, `Make it one of ${words}.`);
    };
    const isNetwork = (value: unknown) =>
      isRecord(value) &&
      [4, 6].includes(value['family'] as number) &&
      ['tcp', 'udp'].includes(String(value['protocol']));
    allowed('networks', networks ?? [], isNetwork, "{ family: 4 or 6, protocol: 'tcp' or 'udp' }");
    for (const [field, values, words] of [
      ['scopes', scopes, ['output', 'forward', 'explicit']],
      ['owners', owners, ['uid', 'gid', 'cgroup']],
    ] as const) {
      allowed(field, values ?? [], (value) => words.some((word) => word === value), words.join(', '));
    }
    for (const field of ['transparent', 'preservesSource']) {
      if (typeof (capabilities as Fields)[field] !== 'boolean') {
        this.fail(`${path}.capabilities.${field}`, 'is neither true nor false', 'Say what the mechanism can do.');
      }
    }
    this.functions(fields, ['points', 'plan', 'create', 'cleanUp'], path);
    this.common(fields, path);
  }

  dialer(fields: Fields, path: string): void {
    this.word(fields, 'type', path);
    if (!['route', 'handshake', 'stream'].includes(String(fields['kind']))) {
      this.fail(`${path}.kind`, 'is no kind of dialer', 'Set it to route, handshake or stream.');
    }
    this.#protocols(fields, path);
    this.functions(fields, ['create'], path);
    this.common(fields, path);
  }

  /** What a dialer carries, where it says so. */
  #protocols(fields: Fields, path: string): void {
    const protocols = fields['protocols'];
    if (protocols === undefined) return;
    const known = Array.isArray(protocols) && protocols.every((one) => one === 'tcp' || one === 'udp');
    if (!known || protocols.length === 0) {
      this.fail(`${path}.protocols`, 'is no list of protocols', 'Set it to a list of tcp and udp, or leave it out.');
    }
    if (fields['kind'] === 'stream' && protocols.includes('udp')) {
      this.fail(`${path}.protocols`, 'has udp, which no stream carries', 'Make it a route or a handshake dialer.');
    }
  }

  resolver(fields: Fields, path: string): void {
    this.word(fields, 'id', path);
    this.priority(fields, path);
    this.functions(fields, ['create'], path);
    this.common(fields, path);
  }
}

/**
 * @param exported the module's namespace object
 * @param source the package name or path it was loaded by
 * @throws PluginError
 */
export function validatePlugin(exported: unknown, source: string): Plugin {
  // The annotation lets the compiler see that fail() does not return.
  const checker: Checker = new Checker(source);
  const plugin = isRecord(exported) ? exported['default'] : undefined;
  if (!isRecord(plugin)) {
    const what = plugin === undefined ? 'is missing' : 'is no object';
    checker.fail('the default export', what, 'Write: export default definePlugin({ … }).');
  }
  const unknown = Object.keys(plugin).find((key) => !FIELDS.includes(key));
  if (unknown !== undefined) checker.fail(unknown, 'is no field of a plugin', `Use ${FIELDS.join(', ')}.`);
  if (typeof plugin['name'] !== 'string' || plugin['name'] === '') {
    checker.fail('name', 'is no text', "Set it to the package's name.");
  }
  const version = plugin['apiVersion'];
  if (version !== API_VERSION) {
    const newer = typeof version === 'number' && version > API_VERSION;
    checker.fail(
      'apiVersion',
      `is ${String(version)}, and this Weir has ${API_VERSION}`,
      newer ? 'Update @weir/core.' : typeof version === 'number' ? 'Update the plugin.' : 'Set it to API_VERSION.',
    );
  }
  for (const [fields, path] of checker.list(plugin, 'interceptors')) checker.interceptor(fields, path);
  for (const [fields, path] of checker.list(plugin, 'dialers')) checker.dialer(fields, path);
  for (const [fields, path] of checker.list(plugin, 'resolvers')) checker.resolver(fields, path);
  return plugin as unknown as Plugin;
}
