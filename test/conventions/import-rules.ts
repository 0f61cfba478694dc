/** Who may import what, and why. A rule that is broken is reported with its reason. */
import { posix } from 'node:path';
import { importsOf, type SourceFile } from './sources.ts';

/** Core's folders from the inside out: a folder may import those before it, and itself. */
const LAYERS: ReadonlyArray<readonly string[]> = [
  ['api'],
  ['capture', 'protocols', 'sys'],
  ['config'],
  ['host', 'dataplane', 'dns', 'observe'],
  ['dialers', 'ingress', 'resolvers'],
  ['registry', 'engine'],
  ['doctor'],
  ['admin', 'cli'],
];

/** Imports that the order of layers does not give and that are wanted all the same. */
const WANTED: Readonly<Record<string, string>> = {
  'sys→capture': 'addresses as text, bytes and numbers are pure, and there is one place for them',
  'protocols→capture': 'addresses as text, bytes and numbers are pure, and there is one place for them',
  'engine→registry': 'the engine asks the registry for the interceptors that it selects from',
  'engine→admin':
    'the engine opens the admin socket as the last step of its start; admin knows only what reports look like',
  'cli→admin': 'commands talk to a running instance by the admin client',
};

/** Files of types and constants that are vocabulary for every layer above the contracts. */
const VOCABULARY: Readonly<Record<string, string>> = {
  'core/src/engine/report.ts': 'whoever contributes to a report names its parts as the engine does',
};

interface OnlyImporter {
  readonly specifier: RegExp;
  readonly importers: RegExp;
  readonly reason: string;
}

const ONLY_IMPORTERS: readonly OnlyImporter[] = [
  {
    specifier: /^koffi$/,
    importers: /^core\/src\/sys\/library\.ts$/,
    reason: 'untyped calls and pointers stay behind one typed door',
  },
  {
    specifier: /^(?:tsyringe|reflect-metadata)$/,
    importers: /^core\/src\/registry\/container\.ts$/,
    reason: 'the container is a registry and no owner of lifecycles; nothing else may come to lean on it',
  },
  {
    specifier: /^commander$/,
    importers: /^core\/src\/cli\/program\.ts$/,
    reason: 'commands are plain functions; only the program knows how they are typed in',
  },
  {
    specifier: /^pino$/,
    importers: /^core\/src\/observe\/logger\.ts$/,
    reason: 'everything else logs through api/logger.ts, which embedders can replace',
  },
  {
    specifier: /^zod$/,
    importers: /^(?:core\/src\/config\/|(?:core|plugins\/[\w-]+)\/src\/(?:.*\/)?(?:[\w-]+-)?options\.ts$)/,
    reason: 'it costs 45 ms at start, and commands that read no configuration must not pay for it',
  },
  {
    specifier: /^yaml$/,
    importers: /^core\/src\/config\//,
    reason: 'places in the file (line and column) exist only where the file is read',
  },
  {
    specifier: /^@prometheus-io\/client$/,
    importers: /^core\/src\/(?:observe|admin)\//,
    reason: 'counters are plain numbers; only the scrape turns them into metrics',
  },
  {
    specifier: /^(?:vitest|fast-check|tinybench)(?:\/|$)/,
    importers: /^(?:(?:core|plugins\/[\w-]+)\/test|test|bench)\//,
    reason: 'what is published does not depend on a test runner',
  },
];

export interface Violation {
  readonly file: string;
  readonly specifier: string;
  readonly reason: string;
}

/** Everything that one file imports and should not. */
export function violationsOf(file: SourceFile): readonly Violation[] {
  return importsOf(file).flatMap((specifier) =>
    [
      ONLY_IMPORTERS.find((rule) => rule.specifier.test(specifier) && !rule.importers.test(file.path))?.reason,
      coreViolation(file.path, specifier),
      pluginViolation(file.path, specifier),
      elsewhereViolation(file.path, specifier),
      extensionViolation(file.path, specifier),
    ]
      .filter((reason) => reason !== undefined)
      .map((reason) => ({ file: file.path, specifier, reason })),
  );
}

function layerOf(folder: string): number {
  return LAYERS.findIndex((layer) => layer.includes(folder));
}

function coreViolation(path: string, specifier: string): string | undefined {
  const [, folder] = /^core\/src\/([\w-]+)\//.exec(path) ?? [];
  if (path.startsWith('core/src/') && specifier.startsWith('@weir/')) {
    return 'core loads plugins by name and imports none; its own files it imports by path';
  }
  if (folder === undefined) return undefined;
  if (folder === 'api') {
    const fine = specifier.startsWith('./') || specifier.startsWith('node:');
    return fine ? undefined : 'the contracts depend on nothing, so that anybody can depend on them';
  }
  if (!specifier.startsWith('.')) return undefined;
  const target = posix.normalize(posix.join(posix.dirname(path), specifier));
  if (!target.startsWith('core/src/')) return 'a published file can import only what is published with it';
  const [, other] = /^core\/src\/([\w-]+)\//.exec(target) ?? [];
  if (other === undefined) return target === 'core/src/version.ts' ? undefined : 'index.ts is for the outside';
  if (other === folder || folder === 'testing' || VOCABULARY[target] !== undefined) return undefined;
  if (other === 'testing') return 'the testing kit is for tests';
  if (layerOf(folder) < 0)
    return `core/src/${folder} has no place in the order of layers yet; give it one in this table`;
  const down = layerOf(other) >= 0 && layerOf(other) < layerOf(folder);
  if (down || WANTED[`${folder}→${other}`] !== undefined) return undefined;
  return `${folder} may not know ${other}: the order is ${LAYERS.map((layer) => layer.join(', ')).join(' ← ')}`;
}

function pluginViolation(path: string, specifier: string): string | undefined {
  const [, plugin, part] = /^(plugins\/[\w-]+)\/(src|test)\//.exec(path) ?? [];
  if (plugin === undefined) return undefined;
  if (specifier.startsWith('.')) {
    const target = posix.normalize(posix.join(posix.dirname(path), specifier));
    return target.startsWith(`${plugin}/`)
      ? undefined
      : 'a plugin sees core and its own files, nothing of its neighbours';
  }
  if (/^@weir\/core(?:\/(?:api|sys))?$/.test(specifier)) return undefined;
  if (specifier === '@weir/core/testing') return part === 'test' ? undefined : 'the testing kit is for tests';
  return specifier.startsWith('@weir/') ? 'plugins never import each other or the inside of core' : undefined;
}

/** bench, test and scripts go through the front doors; tests of core may go inside, by path. */
function elsewhereViolation(path: string, specifier: string): string | undefined {
  if (!/^(?:bench|test|scripts)\//.test(path) || !specifier.startsWith('.')) return undefined;
  const target = posix.normalize(posix.join(posix.dirname(path), specifier));
  return /^(?:core|plugins)\//.test(target) ? 'use the packages by name, as a stranger would' : undefined;
}

function extensionViolation(path: string, specifier: string): string | undefined {
  if (!path.endsWith('.ts') || !specifier.startsWith('.')) return undefined;
  return /\.(?:ts|mjs|json)$/.test(specifier) ? undefined : 'relative imports name the file with its .ts';
}
