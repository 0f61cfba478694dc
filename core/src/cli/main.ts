/** The process around a command line. Imported by bin/weir.js, never by anything else. */
import { useOwnModules } from '../sys/own-modules.ts';
import { processContext } from './context.ts';
import { reportError } from './error-report.ts';
import { EXIT } from './exit-code.ts';
import { runCommandLine } from './program.ts';

useOwnModules();
const context = processContext();

// `weir flows | head`: the reader has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.done);
  throw error;
});
process.stderr.on('error', () => {});

const unexpected = (error: unknown) => {
  reportError(error, context, { debug: process.env['WEIR_DEBUG'] === '1' });
  // The host is put back by the keeper.
  process.exit(EXIT.failure);
};
process.on('uncaughtException', unexpected);
process.on('unhandledRejection', unexpected);

/** Waits for a reader that is slower: a pipe takes 64 KiB, and leaving would lose the rest. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength === 0) return Promise.resolve();
  return new Promise((resolve) => stream.write('', () => resolve()));
}

const code = await runCommandLine(process.argv.slice(2), context);
await Promise.all([written(process.stdout), written(process.stderr)]);
process.exit(code);
