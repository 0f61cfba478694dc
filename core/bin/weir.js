#!/usr/bin/env node
// The launcher. Only syntax that old versions of Node understand, so that they get a sentence and not a SyntaxError.
import { existsSync } from 'node:fs';

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
const entry = new URL(fromSource ? '../src/cli/main.ts' : '../dist/cli/main.js', import.meta.url);
if (!existsSync(entry)) {
  refuse('Weir is not built: ' + entry.pathname + ' is missing.', 'Build it: npm run build.');
}
import(entry.href).catch(function (error) {
  refuse('Weir cannot be loaded: ' + error.message, 'Install it again: npm install @weir/core.');
});
