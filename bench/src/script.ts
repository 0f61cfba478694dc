/** Scripts of `peers/` as command lines; from the sources, as everything of the benchmark. */
import { fileURLToPath } from 'node:url';

export function scriptCommand(name: 'http-origin' | 'first-flow', args: readonly string[]): readonly string[] {
  const file = fileURLToPath(new URL(`./peers/${name}.ts`, import.meta.url));
  return [process.execPath, '--conditions=source', file, ...args];
}
