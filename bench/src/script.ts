/** Scripts of `peers/` as command lines; from the sources, as everything of the benchmark. */
import { fileURLToPath } from 'node:url';
import type { Task } from './candidate.ts';

export function scriptCommand(name: string, args: readonly string[]): readonly string[] {
  const file = fileURLToPath(new URL(`./peers/${name}.ts`, import.meta.url));
  return [process.execPath, '--conditions=source', file, ...args];
}

/** What a load generator reports: JSON after the word `report`. @throws Error with its output when there is none. */
export function reportIn<T>(output: string): T {
  const line = /^report (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new Error(`a load generator gave no report:\n${output}`);
  return JSON.parse(line) as T;
}

/** Runs a load generator on a client host to its end. @throws Error with its output when it fails. */
export async function runScript<T>(task: Task, name: string, args: readonly unknown[], seconds: number): Promise<T> {
  const argv = [...task.manyFiles, ...scriptCommand(name, args.map(String))];
  return reportIn<T>(await task.client.check(argv, { timeoutMs: 30_000 + seconds * 1000 }));
}
