/**
 * Weir as a user gets it: the packages packed by npm, unpacked side by side, their dependencies linked. Kept in
 * .cache/packed until something that is packed changes.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PLACE = join(ROOT, '.cache', 'packed');

interface Packed {
  readonly name: string;
  readonly filename: string;
}

function workspaces(): readonly string[] {
  return ['core', ...readdirSync(join(ROOT, 'plugins')).map((name) => `plugins/${name}`)];
}

/** Changes whenever a file that would be packed does. */
function digest(): string {
  const hash = createHash('sha256');
  for (const workspace of workspaces()) {
    for (const part of ['package.json', 'bin', 'bundle', 'dist', 'src']) {
      const path = join(ROOT, workspace, part);
      if (!existsSync(path)) continue;
      const files = statSync(path).isDirectory() ? readdirSync(path, { recursive: true, encoding: 'utf8' }) : [''];
      for (const file of files.toSorted()) {
        const { mtimeMs, size } = statSync(join(path, file));
        hash.update(`${workspace}/${part}/${file} ${mtimeMs} ${size}\n`);
      }
    }
  }
  return hash.digest('hex');
}

function dependencies(directory: string): readonly string[] {
  const json = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
    readonly dependencies?: Readonly<Record<string, string>>;
  };
  return Object.keys(json.dependencies ?? {}).filter((name) => !name.startsWith('@weir/'));
}

/** @returns argv of the packed program. @throws Error when it cannot be bundled or packed. */
export function packedWeir(): readonly string[] {
  const command = [process.execPath, join(PLACE, 'node_modules/@weir/core/bin/weir.js')];
  const stamp = join(PLACE, 'stamp');
  execFileSync(process.execPath, [join(ROOT, 'scripts/bundle.mjs')], { cwd: ROOT });
  const wanted = digest();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return command;

  rmSync(PLACE, { recursive: true, force: true });
  mkdirSync(PLACE, { recursive: true });
  const flags = workspaces().flatMap((workspace) => ['--workspace', workspace]);
  const output = execFileSync('npm', ['pack', '--json', '--pack-destination', PLACE, ...flags], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * 2 ** 20,
  });
  for (const { name, filename } of JSON.parse(output) as readonly Packed[]) {
    const directory = join(PLACE, 'node_modules', name);
    mkdirSync(directory, { recursive: true });
    execFileSync('tar', ['-xzf', join(PLACE, filename), '-C', directory, '--strip-components=1', '--no-same-owner']);
    for (const dependency of dependencies(directory)) {
      const link = join(PLACE, 'node_modules', dependency);
      mkdirSync(dirname(link), { recursive: true });
      if (!existsSync(link)) symlinkSync(join(ROOT, 'node_modules', dependency), link);
    }
  }
  writeFileSync(stamp, wanted);
  return command;
}
