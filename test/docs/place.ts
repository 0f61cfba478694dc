/** A page of the documentation or an example, tried as a stranger would: outside the repository, against the packed packages. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
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

  /**
   * Compiles a copy.
   * @param source a page of docs/, whose files are extracted, or a directory of the repository.
   * @throws Error with the compiler's words.
   */
  constructor(source: string) {
    execFileSync(process.execPath, [TSC, '-b'], { cwd: ROOT });
    this.command = packedWeir();
    this.directory = mkdtempSync(join(tmpdir(), 'weir-docs-'));
    if (source.endsWith('.md')) extractFiles(join(ROOT, 'docs', source), this.directory);
    else cpSync(join(ROOT, source), this.directory, { recursive: true });
    // As npm install would: the packed packages with what they depend on, and @types/node for the compiler.
    const packed = dirname(dirname(dirname(dirname(this.command[1] as string))));
    symlinkSync(packed, join(this.directory, 'node_modules'));
    const roots = ['--typeRoots', join(ROOT, 'node_modules/@types')];
    try {
      execFileSync(process.execPath, [TSC, ...roots], { cwd: this.directory, stdio: 'pipe', encoding: 'utf8' });
    } catch (error) {
      throw new Error(`${source} does not compile:\n${(error as { stdout?: string }).stdout ?? ''}`, { cause: error });
    }
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
