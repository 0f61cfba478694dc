/** `weir services`: what is intercepted, by whom it is dialled, and how much it carried. */
import type { ServiceReport } from '../../engine/report.ts';
import { type CommandContext, type Output, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { runningInstance, type RunningOptions } from '../running.ts';
import { table } from '../table.ts';
import { bytesText } from '../units.ts';

export function serviceTable(output: Output, services: readonly ServiceReport[]): string {
  return table(
    output,
    [
      { title: 'SERVICE' },
      { title: 'ADDRESSES' },
      { title: 'PORTS' },
      { title: 'PROTOCOLS' },
      { title: 'DIALER' },
      { title: 'LIVING', align: 'right' },
      { title: 'FLOWS', align: 'right' },
      { title: 'UP', align: 'right' },
      { title: 'DOWN', align: 'right' },
    ],
    services.map((service) => [
      service.retiring ? `${service.name} (retiring)` : service.name,
      shortened(service.addresses),
      shortened(service.ports),
      service.protocols.join(','),
      service.dialers.join(','),
      String(service.activeFlows),
      String(service.totalFlows),
      bytesText(service.bytesUp),
      bytesText(service.bytesDown),
    ]),
  );
}

/** A service may have thousands of addresses; --json has them all. */
function shortened(items: readonly string[]): string {
  const shown = items.slice(0, 3).join(',');
  return items.length > 3 ? `${shown} and ${items.length - 3} more` : shown;
}

export async function services(context: CommandContext, options: RunningOptions): Promise<number> {
  const reports = await runningInstance(context, options).services();
  if (options.json === true) writeJson(context.stdout, reports);
  else if (reports.length === 0) context.stdout.write('no services\n');
  else context.stdout.write(serviceTable(context.stdout, reports));
  return EXIT.done;
}
