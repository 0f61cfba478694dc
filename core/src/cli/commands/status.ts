/** `weir status`: what the running instance does, on one page. */
import type { StatusReport } from '../../engine/report.ts';
import { type CommandContext, type Output, paint, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { runningInstance, type RunningOptions } from '../running.ts';
import { selectionTable } from '../selection-table.ts';
import { counted, durationText, endpointText } from '../units.ts';
import { serviceTable } from './services.ts';

function heading(output: Output, text: string): string {
  return `\n${paint(output, 'bold', text)}\n`;
}

function resolverLine(resolver: StatusReport['resolver']): string {
  const test =
    resolver.selfTest === 'failed' ? `failed (${resolver.selfTestReason ?? 'no reason given'})` : resolver.selfTest;
  return [
    `listens on ${resolver.listen.join(', ') || 'nothing'}`,
    `reached by ${resolver.reach} (${resolver.reachReason})`,
    `upstreams ${resolver.upstreams.map(endpointText).join(', ') || 'none'}`,
    counted(resolver.names, 'name'),
    `self-test ${test}`,
  ].join('; ');
}

/** Nothing where the kernel places all of them. */
function placement(workers: StatusReport['workers']): string {
  if (workers.every(({ cpu }) => cpu === undefined)) return '';
  return `, by number on processor ${workers.map(({ cpu }) => cpu ?? 'any').join(', ')}`;
}

/** Exported for tests: the page of one report. */
export function statusPage(output: Output, status: StatusReport, now: number): string {
  const flows = status.workers.reduce((sum, worker) => sum + worker.activeFlows, 0);
  const capture = status.selection.selected ?? 'nothing';
  const lines = [
    `weir ${status.version}, owner ${status.owner}, pid ${status.pid}, ${paint(output, 'bold', status.state)}, up ${durationText(now - status.startedAt)}`,
    `configuration ${status.configurationFile ?? 'given by the program'}, generation ${status.generation}`,
    `captures with ${capture}${status.selection.transparent ? '' : ', not transparent: clients must connect to its listeners'}`,
    `${counted(flows, 'living flow')} on ${counted(status.workers.length, 'worker')}${placement(status.workers)}`,
    `resolver ${resolverLine(status.resolver)}`,
  ];
  let page = `${lines.join('\n')}\n`;
  page += heading(output, 'Interceptors') + selectionTable(output, status.selection);
  if (status.services.length > 0) page += heading(output, 'Services') + serviceTable(output, status.services);
  const hit = Object.entries({ ...status.counters, ...prefixed('resolver', status.resolver.counters) }).filter(
    ([, value]) => value !== 0,
  );
  if (hit.length > 0) {
    page += heading(output, 'Counters that are not 0');
    page += hit.map(([name, value]) => `${name} ${value}\n`).join('');
  }
  const deaths = status.workers.filter((worker) => worker.deaths > 0);
  for (const worker of deaths) page += `worker ${worker.index} was replaced ${counted(worker.deaths, 'time')}\n`;
  if (status.drift.repaired > 0 || status.drift.last.length > 0) {
    page += heading(output, `Drift: ${status.drift.repaired} mended`);
    for (const drift of status.drift.last) {
      page += `${drift.object}: expected ${drift.expected}, found ${drift.found}\n`;
    }
  }
  return page;
}

function prefixed(prefix: string, counters: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counters).map(([name, value]) => [`${prefix}.${name}`, value]));
}

export async function status(context: CommandContext, options: RunningOptions): Promise<number> {
  const report = await runningInstance(context, options).status();
  if (options.json === true) writeJson(context.stdout, report);
  else context.stdout.write(statusPage(context.stdout, report, Date.now()));
  return EXIT.done;
}
