/** bin/weir.js as a process: exit codes, an old Node, a reader that goes away. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const LAUNCHER = join(import.meta.dirname, '../../bin/weir.js');

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function launch(node: string, argv: readonly string[]): Promise<Ended> {
  try {
    const { stdout, stderr } = await promisify(execFile)(node, [...argv]);
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as unknown as Ended;
    return { code, stdout, stderr };
  }
}

test('runs from source with --conditions=source, and its exit code is the command’s', async () => {
  const base = ['--conditions=source', LAUNCHER];
  expect(await launch(process.execPath, [...base, 'version', '--json'])).toMatchObject({ code: 0, stderr: '' });
  expect(await launch(process.execPath, [...base, 'vresion'])).toEqual({
    code: 2,
    stdout: '',
    stderr: `weir: unknown command 'vresion' (did you mean "version"?)\nTry weir --help, or weir COMMAND --help.\n`,
  });
});

const OLD = ['/usr/bin/node', '/usr/local/bin/node'].find((path) => existsSync(path));

test('an old Node gets a sentence', async ({ skip }) => {
  const version = OLD === undefined ? '' : (await launch(OLD, ['--version'])).stdout;
  if (OLD === undefined || Number(/^v(\d+)/.exec(version)?.[1]) >= 22)
    skip('needs a Node before 22.12 on this machine');
  const { code, stderr } = await launch(OLD as string, [LAUNCHER, 'version']);
  expect(code).toBe(1);
  expect(stderr).toBe(
    `weir: Weir needs Node 22.12 or newer, and this is ${version.trim().slice(1)}.\nInstall a newer Node, or put one first on PATH.\n`,
  );
});

test('a reader that has seen enough ends it without a word', async () => {
  const child = spawn(process.execPath, ['--conditions=source', LAUNCHER, 'config', 'schema'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  let err = '';
  child.stderr.on('data', (chunk) => (err += String(chunk)));
  const [code] = (await once(child, 'exit')) as [number];
  expect({ code, err }).toEqual({ code: 0, err: '' });
});
