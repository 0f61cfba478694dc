/** The process around a command line. Imported by bin/weir.js, never by anything else. */
import { processContext } from './context.ts';
import { reportError } from './error-report.ts';
import { EXIT } from './exit-code.ts';
import { runCommandLine } from './program.ts';

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

// Standard streams are written synchronously on Linux, so nothing is lost by leaving at once.
process.exit(await runCommandLine(process.argv.slice(2), context));
