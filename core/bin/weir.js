#!/usr/bin/env node
// The launcher. Only syntax that old versions of Node understand, so that they get a sentence and not a SyntaxError.
import { existsSync, lstatSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import * as modules from 'node:module';
import { join } from 'node:path';

function refuse(problem, remedy) {
  process.stderr.write('weir: ' + problem + '\n' + remedy + '\n');
  process.exit(1);
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (process.platform !== 'linux') {
  refuse('Weir runs on Linux only, and this is ' + process.platform + '.', 'Use a Linux host.');
}
if (major < 22 || (major === 22 && minor < 12)) {
  refuse(
    'Weir needs Node 22.12 or newer, and this is ' + process.versions.node + '.',
    'Install a newer Node, or put one first on PATH.',
  );
}

// In development --conditions=source runs the sources as they are.
const fromSource = process.execArgv.some((argument, i, all) => {
  return argument === '--conditions=source' || (argument === 'source' && /^(--conditions|-C)$/.test(all[i - 1] || ''));
});
// Few files instead of many, which is half of the time to start. In a checkout only while nothing was compiled after it.
function bundleIsFresh(bundle) {
  const made = statSync(bundle, { throwIfNoEntry: false });
  if (!made || typeof modules.registerHooks !== 'function') return false;
  const cache = new URL('../../.cache/', import.meta.url);
  if (!existsSync(new URL('core.tsbuildinfo', cache))) return true;
  return readdirSync(cache).every(function (name) {
    return !name.endsWith('.tsbuildinfo') || statSync(new URL(name, cache)).mtimeMs <= made.mtimeMs;
  });
}
const bundled = new URL('../bundle/cli/main.js', import.meta.url);
const built = new URL('../dist/cli/main.js', import.meta.url);
const entry = fromSource ? new URL('../src/cli/main.ts', import.meta.url) : bundleIsFresh(bundled) ? bundled : built;
if (!existsSync(entry)) {
  refuse('Weir is not built: ' + entry.pathname + ' is missing.', 'Build it: npm run build.');
}
// Compiled code is kept, which is half of the time to start. Only where nobody else may write: it would run as root.
function keepCompiledCode() {
  const root = process.geteuid() === 0;
  const home = process.env['XDG_CACHE_HOME'] || (process.env['HOME'] && join(process.env['HOME'], '.cache'));
  const base = root ? '/var/cache' : home;
  if (!base || process.env['NODE_COMPILE_CACHE'] || process.env['NODE_DISABLE_COMPILE_CACHE']) return;
  const directory = join(base, 'weir');
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    // A read-only file system, or no home: every start compiles anew.
    if (error.code !== 'EEXIST') return;
  }
  const found = lstatSync(directory);
  if (!found.isDirectory() || found.uid !== process.geteuid() || (found.mode & 0o022) !== 0) return;
  modules.enableCompileCache(directory);
  // Threads and the clean-up process read it from here.
  process.env['NODE_COMPILE_CACHE'] = directory;
}
keepCompiledCode();

import(entry.href).catch(function (error) {
  refuse('Weir cannot be loaded: ' + error.message, 'Install it again: npm install @weir/core.');
});
