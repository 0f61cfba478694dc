/** A page of the documentation, tried as a stranger would: outside the repository, against the packed packages. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packedWeir } from '../../scripts/packed-weir.ts';
import { extractFiles } from './extract.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');

export class DocumentedPlace implements Disposable {
  readonly directory: string;
  /** argv of the packed `weir`. */
  readonly command: readonly string[];

  /** Extracts the files of a page and compiles them. @throws Error with the compiler's words. */
  constructor(page: string) {
    execFileSync(process.execPath, [TSC, '-b'], { cwd: ROOT });
    this.command = packedWeir();
    this.directory = mkdtempSync(join(tmpdir(), 'weir-docs-'));
    extractFiles(join(ROOT, 'docs', page), this.directory);
    // As npm install would: the packed packages with what they depend on, and @types/node for the compiler.
    const packed = dirname(dirname(dirname(dirname(this.command[1] as string))));
    symlinkSync(packed, join(this.directory, 'node_modules'));
    const roots = ['--typeRoots', join(ROOT, 'node_modules/@types')];
    try {
      execFileSync(process.execPath, [TSC, ...roots], { cwd: this.directory, stdio: 'pipe', encoding: 'utf8' });
    } catch (error) {
      throw new Error(`${page} does not compile:\n${(error as { stdout?: string }).stdout ?? ''}`, { cause: error });
    }
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
