/** A process with privileges runs no code that others may write, wherever on the way the right to write is. */
import { chmodSync, chownSync, lchownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadPlugins } from '../../src/registry/load.ts';

const SOMEBODY = 12_345;

describe.runIf(process.geteuid?.() === 0)('as root', () => {
  let root = '';
  const ran = globalThis as { weirPluginRan?: number };

  beforeEach(() => {
    ran.weirPluginRan = 0;
    root = mkdtempSync(join(tmpdir(), 'weir-trust-'));
    for (const directory of ['a/package/dist', 'a/node_modules/dependency', 'b']) {
      mkdirSync(join(root, directory), { recursive: true });
    }
    const json = { name: 'weir-plugin-x', type: 'module', dependencies: { dependency: '1' } };
    write('a/package/package.json', JSON.stringify(json));
    write('a/package/dist/index.js', `globalThis.weirPluginRan++;\nexport default { name: 'x', apiVersion: 1 };\n`);
    write('a/package/dist/other.js', '');
    write('a/node_modules/dependency/package.json', '{ "name": "dependency" }');
    write('a/node_modules/dependency/index.js', '');
    symlinkSync('../a/package', join(root, 'b/link'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const at = (path: string) => join(root, path);
  function write(path: string, text: string): void {
    writeFileSync(at(path), text, { mode: 0o644 });
  }

  test('a package that only root may write is loaded, through a link and below a sticky /tmp', async () => {
    await loadPlugins([at('b/link/dist/index.js')], []);
    expect(ran.weirPluginRan).toBe(1);
  });

  test.each<readonly [string, string, 'mode' | 'group' | 'owner']>([
    ['the file', 'a/package/dist/index.js', 'mode'],
    ['the file, by its group', 'a/package/dist/index.js', 'group'],
    ['the file, as its owner', 'a/package/dist/index.js', 'owner'],
    ['its directory', 'a/package/dist', 'mode'],
    ['a directory above', 'a', 'mode'],
    ['a directory above, by its group', 'a', 'group'],
    ['a directory above, as its owner', 'a', 'owner'],
    ['the directory of a link', 'b', 'mode'],
    ['a link, as its owner', 'b/link', 'owner'],
    ['where a link leads', 'a/package', 'mode'],
    ['another file of the package', 'a/package/dist/other.js', 'mode'],
    ['its package.json', 'a/package/package.json', 'owner'],
    ['a package that it depends on', 'a/node_modules/dependency', 'mode'],
    ['a file of a package that it depends on', 'a/node_modules/dependency/index.js', 'group'],
  ])('not when somebody else may write %s', async (_, path, how) => {
    if (how === 'owner') lchownSync(at(path), SOMEBODY, 0);
    if (how === 'mode') chmodSync(at(path), path.includes('.') ? 0o646 : 0o757);
    if (how === 'group') {
      chownSync(at(path), 0, SOMEBODY);
      chmodSync(at(path), path.includes('.') ? 0o664 : 0o775);
    }
    const plugin = at('b/link/dist/index.js');
    await expect(loadPlugins([plugin], [])).rejects.toMatchObject({
      code: 'WEIR_PLUGIN',
      problem: expect.stringMatching(
        `^The plugin ${plugin} is not loaded: ${at(path)} (may be written by|belongs to the user ${SOMEBODY}).* runs as root\\.$`,
      ),
      remedy: expect.stringContaining(
        { mode: `chmod o-w ${at(path)}`, group: `chmod g-w ${at(path)}`, owner: `chown root ${at(path)}` }[how],
      ),
    });
    expect(ran.weirPluginRan).toBe(0);
  });

  const refusal = (path: string) => ({
    code: 'WEIR_PLUGIN',
    problem: expect.stringContaining(`is not loaded: ${at(path)} may be written by others`),
  });

  test('not when somebody else may write what a file without a package has beside it', async () => {
    mkdirSync(at('c'));
    write('c/alone.mjs', `import './beside.mjs';\nexport default { name: 'x', apiVersion: 1 };\n`);
    write('c/beside.mjs', 'globalThis.weirPluginRan++;\n');
    chmodSync(at('c/beside.mjs'), 0o646);
    await expect(loadPlugins([at('c/alone.mjs')], [])).rejects.toMatchObject(refusal('c/beside.mjs'));
  });

  test('not when others may add files to the package, though each can remove only its own', async () => {
    chmodSync(at('a/package/dist'), 0o1777);
    await expect(loadPlugins([at('b/link/dist/index.js')], [])).rejects.toMatchObject(refusal('a/package/dist'));
  });

  test('not when a link in the package leads to a directory with a file that others may write', async () => {
    mkdirSync(at('elsewhere'));
    write('elsewhere/shared.js', '');
    chmodSync(at('elsewhere/shared.js'), 0o646);
    symlinkSync('../../elsewhere', at('a/package/shared'));
    await expect(loadPlugins([at('b/link/dist/index.js')], [])).rejects.toMatchObject(refusal('elsewhere/shared.js'));
  });

  test('not when a dependency of a dependency within the package may be written', async () => {
    mkdirSync(at('a/package/node_modules/dependency'), { recursive: true });
    write(
      'a/package/node_modules/dependency/package.json',
      '{ "name": "dependency", "dependencies": { "deep": "1" } }',
    );
    mkdirSync(at('a/node_modules/deep'));
    write('a/node_modules/deep/index.js', '');
    chmodSync(at('a/node_modules/deep/index.js'), 0o646);
    await expect(loadPlugins([at('b/link/dist/index.js')], [])).rejects.toMatchObject(
      refusal('a/node_modules/deep/index.js'),
    );
  });

  test('a link back into its own package is no endless way', async () => {
    symlinkSync('..', at('a/package/dist/up'));
    await loadPlugins([at('b/link/dist/index.js')], []);
    expect(ran.weirPluginRan).toBe(1);
  });

  test('a link is followed as the kernel does, where .. is meant from where another link leads', async () => {
    mkdirSync(at('open/inner'), { recursive: true });
    mkdirSync(at('open/package'));
    write('open/package/index.mjs', 'globalThis.weirPluginRan++;\n');
    chmodSync(at('open/package/index.mjs'), 0o646);
    mkdirSync(at('package'));
    write('package/index.mjs', '');
    symlinkSync('open/inner', at('far'));
    symlinkSync('far/../package', at('near'));
    await expect(loadPlugins([at('near/index.mjs')], [])).rejects.toMatchObject(refusal('open/package/index.mjs'));
  });

  test('not when a place where its packages are looked for is somebody else’s', async () => {
    mkdirSync(at('shared/plugin'), { recursive: true });
    chmodSync(at('shared'), 0o1777);
    write('shared/plugin/package.json', '{ "name": "undeclared" }');
    write('shared/plugin/index.mjs', `globalThis.weirPluginRan++;\nexport default { name: 'x', apiVersion: 1 };\n`);
    mkdirSync(at('shared/node_modules'));
    chownSync(at('shared/node_modules'), SOMEBODY, SOMEBODY);
    const problem = expect.stringContaining(`${at('shared/node_modules')} belongs to the user ${SOMEBODY}`);
    await expect(loadPlugins([at('shared/plugin/index.mjs')], [])).rejects.toMatchObject({ problem });
    expect(ran.weirPluginRan).toBe(0);
  });
});
