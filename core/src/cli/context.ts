/** What a command may touch of its process, so that commands run in tests without one. */
import { styleText } from 'node:util';

export interface Output {
  write(text: string): void;
  readonly isTerminal: boolean;
  /** False where the reader is no terminal, and with NO_COLOR. */
  readonly colour: boolean;
  /** Characters per line; absent where there is no terminal. */
  readonly columns?: number;
}

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

export interface CommandContext {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Calls back for each signal; returns the undo. While nobody listens, the signal does what it always does. */
  onSignal(signal: StopSignal, listener: () => void): () => void;
}

type Style = Parameters<typeof styleText>[0];

/** Paints for readers that want colour, and leaves the text alone for all others. */
export function paint(output: Output, style: Style, text: string): string {
  return output.colour ? styleText(style, text, { validateStream: false }) : text;
}

export function writeJson(output: Output, value: unknown): void {
  output.write(`${JSON.stringify(value, undefined, output.isTerminal ? 2 : undefined)}\n`);
}

function outputOf(stream: NodeJS.WriteStream): Output {
  return {
    write: (text) => void stream.write(text),
    get isTerminal() {
      return stream.isTTY === true;
    },
    get colour() {
      return stream.isTTY === true && stream.hasColors();
    },
    get columns() {
      return stream.columns;
    },
  } as Output;
}

export function processContext(): CommandContext {
  return {
    stdout: outputOf(process.stdout),
    stderr: outputOf(process.stderr),
    environment: process.env,
    onSignal(signal, listener) {
      process.on(signal, listener);
      return () => process.off(signal, listener);
    },
  };
}
