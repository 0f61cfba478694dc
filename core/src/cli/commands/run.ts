/** `weir run`: reads the configuration, starts, and stays until it is told to stop. */
import { ConfigurationError } from '../../api/errors.ts';
import type { Logger } from '../../api/logger.ts';
import { faultText } from '../../config/fault-text.ts';
import type { Configuration } from '../../config/model.ts';
import { prepareThread } from '../../dataplane/thread-start.ts';
import type { SelectionReport, StatusReport } from '../../engine/report.ts';
import { type AdjustableLogger, createLogger } from '../../observe/logger.ts';
import { configurationReader, type GivenOptions } from '../configuration.ts';
import type { CommandContext } from '../context.ts';
import { reportOf } from '../error-report.ts';
import { EXIT } from '../exit-code.ts';
import { selectionTable } from '../selection-table.ts';
import { counted } from '../units.ts';

/** What this command needs of an engine. */
export interface RunningEngine {
  status(): StatusReport;
  reload(): Promise<unknown>;
  stop(options?: { readonly now?: boolean }): Promise<void>;
  readonly stopped: Promise<{ readonly error?: Error | undefined }>;
}

export type StartEngine = (
  configuration: Configuration,
  options: { readonly reload: () => Promise<Configuration>; readonly log: Logger; readonly signal: AbortSignal },
) => Promise<RunningEngine>;

/** After a second signal nothing may hold the process longer than this; the keeper cleans up behind it. */
const STOP_NOW_MS = 10_000;

const startWeir: StartEngine = async (configuration, options) => {
  const { Weir } = await import('../../engine/engine.ts');
  return Weir.start(configuration, options);
};

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}

/** A reload that fails changes nothing; the log has every fault, since there is no terminal to show them on. */
async function reload(engine: RunningEngine, log: Logger): Promise<void> {
  try {
    // The engine logs what it changed.
    await engine.reload();
  } catch (error) {
    if (error instanceof ConfigurationError) {
      for (const fault of error.faults) {
        const { file, line, column, problem, allowed } = fault;
        log.error({ event: 'configuration-fault', file, line, column, problem, allowed }, faultText(fault));
      }
      log.error({ event: 'reload-refused', faults: error.faults.length }, 'not reloaded; the old configuration holds');
    } else {
      log.error({ event: 'reload-failed', error }, 'not reloaded; the old configuration holds');
    }
  }
}

function announce(
  context: CommandContext,
  configuration: Configuration,
  engine: RunningEngine,
  log: Logger,
  json: boolean,
): void {
  const status = engine.status();
  const { format } = configuration.log;
  if (json) writeLine(context, status.selection);
  else if (format === 'pretty' || (format === 'auto' && context.stderr.isTerminal)) {
    context.stdout.write(selectionTable(context.stdout, status.selection));
    const { selected = 'nothing' } = status.selection;
    context.stdout.write(`ready: ${selected} captures for ${counted(status.services.length, 'service')}\n`);
  }
  const { selected: interceptor, transparent } = status.selection;
  log.info(
    { event: 'ready', interceptor, transparent, services: status.services.length, owner: status.owner },
    'ready',
  );
}

/** One line, also on a terminal: what reads it goes by lines. */
function writeLine(context: CommandContext, report: SelectionReport): void {
  context.stdout.write(`${JSON.stringify(report)}\n`);
}

/** @param adjust applied to the configuration whenever it is read */
export async function run(
  context: CommandContext,
  file: string | undefined,
  options: GivenOptions & { readonly json?: boolean },
  start: StartEngine = startWeir,
  adjust: (configuration: Configuration) => Configuration = (configuration) => configuration,
): Promise<number> {
  // It becomes ready while the rest loads.
  if (start === startWeir) prepareThread();
  const reader = await configurationReader(context, file, options);
  const read = async () => adjust(await reader.read());
  const configuration = await read();
  const log: AdjustableLogger = createLogger({
    level: configuration.log.level,
    format: configuration.log.format,
    terminal: context.stderr.isTerminal,
    colour: context.stderr.colour,
    write: (line) => context.stderr.write(line),
  });

  const abort = new AbortController();
  let engine: RunningEngine | undefined;
  let signals = 0;
  let reloading: Promise<void> = Promise.resolve();
  let interrupted: () => void = () => {};
  const secondSignal = new Promise<void>((resolve) => {
    interrupted = resolve;
  });

  let fail: (error: unknown) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failure.catch(() => {});

  // An orderly stop takes no new flows and waits for the living ones itself.
  const stop = (running: RunningEngine): void => {
    running.stop().catch(fail);
  };
  const onStop = (signal: string) => {
    signals++;
    if (signals === 1) {
      log.info({ event: 'stopping', signal }, 'draining; a second signal stops now');
      if (engine === undefined) abort.abort(new DOMException(`Stopped by ${signal}`, 'AbortError'));
      else stop(engine);
    } else if (signals === 2) {
      log.warn({ event: 'stopping-now', signal }, 'stopping now');
      interrupted();
    }
  };
  const undo = [
    context.onSignal('SIGTERM', () => onStop('SIGTERM')),
    context.onSignal('SIGINT', () => onStop('SIGINT')),
    context.onSignal('SIGHUP', () => {
      // One at a time; without an engine there is nothing to reload, but the signal must not end the process.
      const running = engine;
      if (running !== undefined && signals === 0) reloading = reloading.then(() => reload(running, log));
    }),
  ];

  try {
    const starting = start(configuration, { reload: read, log, signal: abort.signal });
    const started = await Promise.race([starting, secondSignal.then(() => delay(STOP_NOW_MS))]).catch(
      (error: unknown) => {
        // What went wrong while a start was taken back is worth a report; the abort itself is not.
        const aborted = error === abort.signal.reason || (error as { name?: unknown }).name === 'AbortError';
        if (abort.signal.aborted && aborted) return undefined;
        const report = options.json === true ? reportOf(error) : undefined;
        if (report !== undefined) writeLine(context, report);
        throw error;
      },
    );
    if (started === undefined) {
      log.info({ event: 'stopped' }, 'stopped before it was ready');
      return signals > 1 ? EXIT.interrupted : EXIT.done;
    }
    engine = started;
    if (signals === 0) announce(context, configuration, started, log, options.json === true);
    else stop(started);

    const first = await Promise.race([started.stopped, failure, secondSignal.then(() => 'now' as const)]);
    if (first === 'now') {
      await Promise.race([started.stop({ now: true }), delay(STOP_NOW_MS)]);
      return EXIT.interrupted;
    }
    if (first.error !== undefined) throw first.error;
    return EXIT.done;
  } finally {
    for (const off of undo) off();
  }
}
