/**
 * Reads a configuration: YAML text to a {@link Configuration}, or all that is wrong with it in one error. The only way
 * from a file to the engine.
 */
import { open } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import {
  ConfigurationError,
  NotPermittedError,
  UsageError,
  WeirError,
  type ConfigurationFault,
} from '../api/errors.ts';
import type { StandardIssue, StandardSchema } from '../api/schema.ts';
import { assemble, dialerUses } from './assemble.ts';
import type { Definitions, LoadDefinitions } from './definitions.ts';
import { MAX_DOCUMENT_BYTES, parseYaml } from './document.ts';
import { findings as findingsOf, valueAt, type Finding } from './issues.ts';
import type { Configuration } from './model.ts';
import { parsePlainJson } from './plain-json.ts';
import { collectOverrides, type Environment, type Flags } from './precedence.ts';
import { captureFindings } from './capture-findings.ts';
import { itemsAt, referenceFindings } from './references.ts';
import { documentSchema, knownKeys, type DocumentValue } from './schema.ts';
import { resolveSecrets } from './secrets.ts';

export interface LoadOptions {
  /** A path, relative to the working directory or absolute; in faults it stands as it is given here. */
  readonly file: string;
  /** Read instead of the file; `file` is then only a name for faults, and no permission of it is checked. */
  readonly text?: string;
  readonly definitions: LoadDefinitions;
  /** By flag name without dashes: `{ 'log-level': 'debug' }`. */
  readonly flags?: Flags;
  /** Only `WEIR_*` is looked at. */
  readonly environment?: Environment;
}

interface Read {
  readonly text: string;
  readonly mode?: number;
}

async function readConfigurationFile(name: string): Promise<Read> {
  try {
    await using handle = await open(name, 'r');
    const { mode, size } = await handle.stat();
    if (size > MAX_DOCUMENT_BYTES) {
      const problem = `The configuration ${name} is larger than 16 MiB.`;
      throw new UsageError({ problem, remedy: 'Give the path of a Weir configuration.' });
    }
    return { text: await handle.readFile('utf8'), mode };
  } catch (error) {
    if (error instanceof WeirError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') {
      const problem = `The configuration ${name} may not be read by this user.`;
      throw new NotPermittedError({
        problem,
        remedy: `Run as a user who may, or change the mode of ${name}.`,
        cause: error,
      });
    }
    const why =
      code === 'ENOENT' ? 'does not exist' : code === 'EISDIR' ? 'is a directory' : `cannot be read (${code})`;
    throw new UsageError({
      problem: `The configuration ${name} ${why}.`,
      remedy: 'Give the path of a Weir configuration, as in weir run weir.yaml.',
      cause: error,
    });
  }
}

/** Checks a document against the schema. `value` is absent when it has faults. */
function validate(root: unknown): { readonly value?: DocumentValue; readonly findings: readonly Finding[] } {
  const result = documentSchema.safeParse(root);
  if (result.success) return { value: result.data, findings: [] };
  return { findings: result.error.issues.flatMap((issue) => findingsOf(issue, root, [], knownKeys)) };
}

/** A plugin's own schema, its issues placed below `path`. */
async function validateOptions(
  schema: StandardSchema,
  options: unknown,
  path: readonly PropertyKey[],
  what: string,
): Promise<{ readonly value: unknown; readonly findings: readonly Finding[] }> {
  const result = await schema['~standard'].validate(options);
  if (result.issues === undefined) return { value: result.value, findings: [] };
  const place = (issue: StandardIssue): Finding => {
    const [problem = '', allowed] = issue.message.split('\n');
    const keys = (issue.path ?? []).map((key) => (typeof key === 'object' ? key.key : key));
    return { path: [...path, ...keys], problem, allowed: allowed ?? `what ${what} takes` };
  };
  return { value: undefined, findings: result.issues.map(place) };
}

/** Loads the plugins that a document names; one that cannot be loaded is a finding at its name. */
async function loadDefinitions(
  root: unknown,
  load: LoadDefinitions,
  directory: string,
): Promise<{
  readonly definitions: Definitions;
  readonly plugins: readonly string[];
  readonly findings: readonly Finding[];
}> {
  const plugins: string[] = [];
  const findings: Finding[] = [];
  for (const [path, name] of itemsAt(root, ['plugins'])) {
    if (typeof name !== 'string' || name === '') continue;
    const located = name.startsWith('.') || isAbsolute(name) ? resolve(directory, name) : name;
    try {
      await load([located]);
      plugins.push(located);
    } catch (error) {
      if (!(error instanceof WeirError)) throw error;
      findings.push({ path, problem: error.problem, allowed: error.remedy });
    }
  }
  return { definitions: await load(plugins), plugins, findings };
}

/** In the order of the file; what stands on the command line and in the environment comes behind it. */
const byPlace = (file: string) => (a: ConfigurationFault, b: ConfigurationFault) =>
  Number(a.file !== file) - Number(b.file !== file) || a.line - b.line || a.column - b.column;

/** A document as it was read. */
interface ReadDocument {
  /** Absent when there is no tree; then `faults` says why. */
  readonly root?: unknown;
  readonly faults: readonly ConfigurationFault[];
  readonly source: { place(finding: Finding): ConfigurationFault };
}

/** Of a document without places: nobody sees these, since what has a fault is read again with its places. */
const NOWHERE: ReadDocument['source'] = {
  place: ({ path, problem, allowed }) => ({
    file: '',
    line: 1,
    column: 1,
    path: path.map(String).join('.'),
    problem,
    allowed,
  }),
};

/**
 * @returns the configuration, completed with defaults; `file` is absolute.
 * @throws ConfigurationError with every fault, in the order of the file; UsageError when there is no such file;
 *   NotPermittedError when it may not be read.
 */
export async function loadConfiguration(options: LoadOptions): Promise<Configuration> {
  const { file } = options;
  const read: Read = options.text === undefined ? await readConfigurationFile(file) : { text: options.text };
  const plain = parsePlainJson(read.text);
  if (plain !== undefined) {
    const checked = await check(options, read, { root: plain, faults: [], source: NOWHERE });
    if ('configuration' in checked) return checked.configuration;
  }
  const checked = await check(options, read, parseYaml(read.text, file));
  if ('configuration' in checked) return checked.configuration;
  throw refusal(file, distinct(checked.faults).toSorted(byPlace(file)));
}

async function check(
  options: LoadOptions,
  read: Read,
  parsed: ReadDocument,
): Promise<{ readonly configuration: Configuration } | { readonly faults: readonly ConfigurationFault[] }> {
  const { file } = options;
  const absolute = resolve(file);
  const directory = dirname(absolute);
  const overrides = collectOverrides(options.flags ?? {}, options.environment ?? {});

  const faults: ConfigurationFault[] = [...parsed.faults];
  const add = (found: readonly Finding[]) => faults.push(...found.map((finding) => parsed.source.place(finding)));
  const addOverride = (found: readonly Finding[]) => faults.push(...found.map((finding) => overrides.place(finding)));

  // Without a tree there is still the command line to check.
  const usable = Object.hasOwn(parsed, 'root');
  const secrets = await resolveSecrets(parsed.root, {
    directory,
    ...(read.mode === undefined ? {} : { file: { name: file, mode: read.mode } }),
  });
  const fromFile = await loadDefinitions(parsed.root, options.definitions, directory);
  const fromFlags = await loadDefinitions(overrides.root, options.definitions, process.cwd());
  const plugins = [...new Set([...fromFile.plugins, ...fromFlags.plugins])];
  const lacksSome = fromFile.findings.length + fromFlags.findings.length > 0;
  const definitions = { ...(await options.definitions(plugins)), lacksSome };

  const document: { readonly value?: DocumentValue; readonly findings: readonly Finding[] } = usable
    ? validate(secrets.root)
    : { findings: [] };
  if (usable) {
    add(document.findings);
    add(fromFile.findings);
    add(secrets.findings);
    add(referenceFindings(parsed.root, definitions));
    add(await captureFindings(parsed.root, definitions, valueAt(overrides.root, ['interceptor'])));
  }
  const overriding = validate({ ...overrides.root, services: [] });
  addOverride(overriding.findings);
  addOverride(fromFlags.findings);
  addOverride(referenceFindings(overrides.root, definitions));

  const dialerOptions = new Map<string, unknown>();
  for (const { path, name, type, options: given } of dialerUses(secrets.root)) {
    const definition = definitions.dialerTypes.get(type);
    if (definition === undefined) continue;
    const checked = await validateOptions(definition.options, given, path, `the dialer type "${type}"`);
    add(checked.findings);
    dialerOptions.set(name, checked.value);
  }
  const interceptorOptions: Record<string, unknown> = {};
  for (const [id, given] of Object.entries(document.value?.interceptors ?? {})) {
    const definition = definitions.interceptorIds.includes(id) ? await definitions.interceptor(id) : undefined;
    if (definition === undefined) continue;
    const checked = await validateOptions(definition.options, given, ['interceptors', id], `the interceptor "${id}"`);
    add(checked.findings);
    interceptorOptions[id] = checked.value;
  }

  const resolverOptions: Record<string, unknown> = {};
  for (const [id, definition] of definitions.resolvers) {
    const path = ['resolver', 'plugins', id];
    // A resolver takes part as soon as its plugin is loaded, so that one without options is checked as well.
    const given = document.value?.resolver?.plugins?.[id];
    const checked = await validateOptions(definition.options, given ?? {}, path, `the resolver "${id}"`);
    // What is not in the file has no place there that would say what it is about.
    const named = (finding: Finding): Finding => ({ ...finding, problem: `${path.join('.')}: ${finding.problem}` });
    add(given === undefined ? checked.findings.map(named) : checked.findings);
    resolverOptions[id] = checked.value;
  }

  if (faults.length > 0 || document.value === undefined || overriding.value === undefined) {
    return { faults };
  }
  const configuration = assemble({
    ...(options.text === undefined ? { file: absolute } : {}),
    document: document.value,
    overrides: overriding.value,
    dialerOptions,
    interceptorOptions,
    resolverOptions,
    plugins,
  });
  return { configuration };
}

/** Two checks may find the same thing. */
function distinct(faults: readonly ConfigurationFault[]): readonly ConfigurationFault[] {
  const seen = new Map(faults.map((f) => [`${f.file}:${f.line}:${f.column}:${f.problem}`, f]));
  return [...seen.values()];
}

function refusal(file: string, faults: readonly ConfigurationFault[]): ConfigurationError {
  const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`;
  const [first] = faults;
  const same = faults.every((fault) => fault.file === first?.file);
  const where = !same ? 'The configuration' : first?.file === file ? file : `The ${first?.file}`;
  return new ConfigurationError(faults, {
    problem: `${where} has ${count}.`,
    remedy: where === file ? `Mend it, then try weir check ${file}.` : 'Mend it and try again.',
  });
}
