import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listFiles, ROOT } from './sources.ts';

interface PackageJson {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly license?: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

const paths = [
  'package.json',
  ...['core', 'plugins', 'bench', 'test'].flatMap((each) => listFiles(each, /^package\.json$/)),
];
const packages = paths.map((path) => ({
  path,
  json: JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as PackageJson,
}));
const root = packages[0]?.json as PackageJson;

test('every dependency is pinned to one version', () => {
  const loose = packages.flatMap(({ path, json }) =>
    Object.entries({
      ...json.dependencies,
      ...json.devDependencies,
      ...json.optionalDependencies,
      ...json.peerDependencies,
    })
      .filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))
      .map(([name, version]) => `${path}: ${name} ${version}`),
  );
  expect(loose).toEqual([]);
});

test('all packages have the same version and licence', () => {
  for (const { path, json } of packages) {
    expect(json.version, path).toBe(root.version);
    expect(json.license, path).toBe('Apache-2.0');
  }
});

test('every script of package.json runs something that exists', () => {
  const missing = Object.entries(root.scripts ?? {}).flatMap(([name, command]) =>
    [...command.matchAll(/\bscripts\/[\w.-]+/g)]
      .map(([file]) => file)
      .filter((file) => !existsSync(join(ROOT, file)))
      .map((file) => `${name}: ${file}`),
  );
  expect(missing).toEqual([]);
});

test('every npm command that the documentation names exists', () => {
  const known = new Set(Object.keys(root.scripts ?? {}));
  const builtIn = new Set(['install', 'ci', 'i', 'run', 'pack', 'exec']);
  const unknown = ['README.md', ...listFiles('docs', /\.md$/)]
    .flatMap((path) =>
      [...readFileSync(join(ROOT, path), 'utf8').matchAll(/(?:^|`)npm (?:run )?([a-z][\w:-]*)/gm)].map((match) => ({
        path,
        command: match[1] ?? '',
      })),
    )
    .filter(({ command }) => !known.has(command) && !builtIn.has(command));
  expect(unknown).toEqual([]);
});

test('every relative link of the documentation leads somewhere', () => {
  const broken = ['README.md', ...listFiles('docs', /\.md$/)].flatMap((path) =>
    [...readFileSync(join(ROOT, path), 'utf8').matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)]
      .map((match) => join(path, '..', match[1] ?? ''))
      .filter((target) => !existsSync(join(ROOT, target)))
      .map((target) => `${path}: ${target}`),
  );
  expect(broken).toEqual([]);
});
