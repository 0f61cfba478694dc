/** An error as an operator reads it on standard error: what happened, why, and last what to do. No stack trace. */
import { ConfigurationError, WeirError } from '../api/errors.ts';
import { faultText } from '../config/fault-text.ts';
import type { SelectionReport } from '../engine/report.ts';
import { type CommandContext, paint } from './context.ts';
import { selectionTable } from './selection-table.ts';

const MAX_CAUSES = 3;

/** The messages underneath, where they say something that the one above has not said. */
function causes(error: unknown): readonly string[] {
  const found: string[] = error instanceof AggregateError ? error.errors.slice(0, MAX_CAUSES).map(firstLine) : [];
  let cause: unknown = (error as { cause?: unknown } | undefined)?.cause;
  while (cause !== undefined && cause !== null && found.length < MAX_CAUSES) {
    if (cause instanceof AggregateError) {
      for (const inner of cause.errors.slice(0, MAX_CAUSES)) found.push(firstLine(inner));
      break;
    }
    found.push(firstLine(cause));
    cause = (cause as { cause?: unknown }).cause;
  }
  return found.filter((text) => text !== '');
}

function firstLine(error: unknown): string {
  if (error instanceof WeirError) return error.problem;
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n')[0] as string;
}

/** The whole table with its remedies, where no interceptor could start. */
export function reportOf(error: unknown): SelectionReport | undefined {
  if (!(error instanceof WeirError) || error.code !== 'WEIR_NO_INTERCEPTOR' || !('report' in error)) return undefined;
  return error.report as SelectionReport;
}

export interface ReportOptions {
  /** Also the stack: WEIR_DEBUG=1, or `--log-level debug`. */
  readonly debug: boolean;
}

export function reportError(error: unknown, context: CommandContext, options: ReportOptions): void {
  const { stderr } = context;
  const out = (text: string) => stderr.write(`${text}\n`);
  if (error instanceof ConfigurationError) {
    const style = {
      place: (text: string) => paint(stderr, 'bold', text),
      problem: (text: string) => paint(stderr, 'red', text),
      caret: (text: string) => paint(stderr, 'yellow', text),
    };
    for (const fault of error.faults) out(`${faultText(fault, style)}\n`);
  }
  const report = reportOf(error);
  if (report !== undefined) out(selectionTable(stderr, report));
  const weir = error instanceof WeirError;
  const problem = weir ? error.problem : `Unexpected: ${firstLine(error)}`;
  out(`${paint(stderr, ['red', 'bold'], 'weir:')} ${problem}`);
  // A missing file or socket has no more to it than the sentence above.
  const plain = weir && (error.code === 'WEIR_NOT_RUNNING' || error.code === 'WEIR_USAGE');
  for (const cause of plain ? [] : causes(error)) {
    if (!problem.includes(cause)) out(`  because: ${cause}`);
  }
  if (options.debug && error instanceof Error && error.stack !== undefined) out(paint(stderr, 'gray', error.stack));
  out(weir ? error.remedy : 'Run it again with WEIR_DEBUG=1 for the details, and report them.');
}

/** True when the operator asked for stacks. */
export function wantsDebug(context: CommandContext, logLevel: string | undefined): boolean {
  return context.environment['WEIR_DEBUG'] === '1' || (logLevel ?? context.environment['WEIR_LOG_LEVEL']) === 'debug';
}
