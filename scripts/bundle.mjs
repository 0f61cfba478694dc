/**
 * npm run build, second half: what `tsc -b` compiled is made into few files, `bundle/` beside `dist/` in each package, with the
 * packages that core depends on inside. A start resolves and evaluates a tenth of the modules then, which is half of its time.
 * `bin/weir.js` takes the bundle unless `tsc -b` has been at work since; see core/src/sys/own-modules.ts.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { parseAst } from 'rolldown/parseAst';

const ROOT = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
const CACHE = join(ROOT, '.cache');

/** What is started or imported by its name or its URL, and therefore keeps its own. */
const ENTRIES = {
  core: [
    'index',
    'api/index',
    'sys/index',
    'cli/main',
    'dataplane/worker-thread',
    'dataplane/stream-thread',
    'engine/cleanup-process',
    'dialers/direct',
    'dialers/socks5',
  ],
  'plugins/tun': ['index', 'pump-thread'],
};

/** Native code finds its own files; the packages of Weir find each other by name. */
const OUTSIDE = [/^koffi$/, /^@weir\//];

/** Warnings of a bundle that would not run; others are about its size. */
const BROKEN = new Set(['UNRESOLVED_IMPORT', 'IMPORT_IS_UNDEFINED', 'SOURCEMAP_BROKEN']);

const NOTICES = 'THIRD-PARTY-NOTICES';

/** `import.meta.url` of a module: kept through the bundling by a name that nothing else has. */
function moduleUrls(dist) {
  const urls = [];
  return {
    name: 'module-urls',
    load(id) {
      if (!id.startsWith(`${dist}/`) || !existsSync(`${id}.map`)) return null;
      return { code: readFileSync(id, 'utf8'), map: JSON.parse(readFileSync(`${id}.map`, 'utf8')) };
    },
    transform(code, id) {
      if (!id.startsWith(`${dist}/`) || !code.includes('import.meta.url')) return null;
      const name = `__module_url_${urls.push(relative(dist, id)) - 1}__`;
      let changed = code;
      for (const { start, end } of placesOfUrl(parseAst(code)).toReversed()) {
        changed = changed.slice(0, start) + name + changed.slice(end);
      }
      return { code: changed, map: null };
    },
    renderChunk(code, { fileName }) {
      const changed = code.replaceAll(/__module_url_(\d+)__/g, (_, index) => {
        const path = posix.relative(posix.dirname(fileName), urls[index]);
        if (urls[index] === fileName) return 'import.meta.url';
        return `new URL(${JSON.stringify(path.startsWith('.') ? path : `./${path}`)}, import.meta.url).href`;
      });
      return changed === code ? null : { code: changed, map: null };
    },
  };
}

/** Where a syntax tree reads `import.meta.url`. */
function placesOfUrl(node, found = []) {
  if (Array.isArray(node)) for (const each of node) placesOfUrl(each, found);
  else if (node !== null && typeof node === 'object') {
    if (node.type === 'MemberExpression' && node.object.type === 'MetaProperty' && node.property.name === 'url') {
      found.push({ start: node.start, end: node.end });
    } else for (const each of Object.values(node)) placesOfUrl(each, found);
  }
  return found;
}

/** The package that a module belongs to, if it is none of ours: its directory. */
function packageOf(id) {
  return /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0];
}

/** The licences of what is inside, which ask to go along. */
function notices(ids) {
  const directories = [...new Set(ids.flatMap((id) => packageOf(id) ?? []))].toSorted((a, b) => (a < b ? -1 : 1));
  return directories.map((directory) => {
    const { name, version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    const file = readdirSync(directory).find((each) => /^licen[cs]e/i.test(each));
    if (file === undefined) throw new Error(`${name} has no licence file: leave it out of the bundle`);
    return `${name} ${version} (${license})\n\n${readFileSync(join(directory, file), 'utf8').trim()}\n`;
  });
}

async function bundle(workspace) {
  const directory = join(ROOT, workspace);
  const dist = join(directory, 'dist');
  const entries = ENTRIES[workspace] ?? ['index'];
  const build = await rolldown({
    cwd: directory,
    input: Object.fromEntries(entries.map((entry) => [entry, `./dist/${entry}.js`])),
    platform: 'node',
    external: OUTSIDE,
    plugins: [moduleUrls(dist)],
    onLog(level, log) {
      if (level === 'warn' && BROKEN.has(log.code)) throw new Error(`${workspace}: ${log.message}`);
    },
  });
  const { output } = await build.generate({
    format: 'esm',
    sourcemap: true,
    sourcemapExcludeSources: true,
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
  });
  await build.close();
  // An entry that waits for what it runs must not be waited for by it.
  const programs = output.filter((file) => file.isEntry && file.exports.length === 0).map(({ fileName }) => fileName);
  for (const { fileName, imports = [] } of output) {
    const program = imports.find((each) => programs.includes(each));
    if (program !== undefined) throw new Error(`${workspace}: ${fileName} imports the program ${program}`);
  }
  const target = join(directory, 'bundle');
  const made = `${target}.new`;
  rmSync(made, { recursive: true, force: true });
  for (const { fileName, ...file } of output) {
    mkdirSync(dirname(join(made, fileName)), { recursive: true });
    writeFileSync(join(made, fileName), file.type === 'chunk' ? file.code : file.source);
  }
  const texts = notices(output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : [])));
  const line = `\n${'-'.repeat(80)}\n\n`;
  if (texts.length > 0) writeFileSync(join(made, NOTICES), `Parts of these files are:\n${line}${texts.join(line)}`);
  rmSync(target, { recursive: true, force: true });
  renameSync(made, target);
}

/** True when nothing has been compiled since. */
function isFresh() {
  const stamp = statSync(join(ROOT, 'core/bundle/cli/main.js'), { throwIfNoEntry: false });
  const infos = readdirSync(CACHE).filter((name) => name.endsWith('.tsbuildinfo'));
  const inputs = [
    fileURLToPath(import.meta.url),
    join(ROOT, 'package-lock.json'),
    ...infos.map((name) => join(CACHE, name)),
  ];
  return stamp !== undefined && inputs.every((input) => statSync(input).mtimeMs <= stamp.mtimeMs);
}

if (!isFresh()) {
  // Core is the last one: its age tells the age of all.
  for (const name of readdirSync(join(ROOT, 'plugins'))) await bundle(`plugins/${name}`);
  await bundle('core');
}
