/** A command line without a process: what it writes is kept, signals are sent by hand. */
import type { CommandContext, Output, StopSignal } from '../../src/cli/context.ts';
import { runCommandLine } from '../../src/cli/program.ts';

export interface TestConsole extends CommandContext {
  readonly out: () => string;
  readonly err: () => string;
  send(signal: StopSignal): void;
  /** How many listeners a signal has. */
  listeners(signal: StopSignal): number;
}

export interface ConsoleOptions {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly terminal?: boolean;
}

export function testConsole({ environment = {}, terminal = false }: ConsoleOptions = {}): TestConsole {
  const kept = { out: '', err: '' };
  const signals = new Map<StopSignal, Set<() => void>>();
  const output = (name: 'out' | 'err'): Output => ({
    write: (text) => void (kept[name] += text),
    isTerminal: terminal,
    colour: false,
  });
  return {
    stdout: output('out'),
    stderr: output('err'),
    environment,
    onSignal(signal, listener) {
      const listeners = signals.get(signal) ?? new Set();
      signals.set(signal, listeners.add(listener));
      return () => listeners.delete(listener);
    },
    out: () => kept.out,
    err: () => kept.err,
    send: (signal) => signals.get(signal)?.forEach((listener) => listener()),
    listeners: (signal) => signals.get(signal)?.size ?? 0,
  };
}

export interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command line to its end. */
export async function weir(argv: readonly string[], options: ConsoleOptions = {}): Promise<Result> {
  const console = testConsole(options);
  const code = await runCommandLine(argv, console);
  return { code, out: console.out(), err: console.err() };
}
