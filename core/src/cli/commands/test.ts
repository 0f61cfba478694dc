/** `weir test HOST PORT`: which service and dialer would take this flow, and why. Asks the configuration, not the host. */
import { UsageError } from '../../api/errors.ts';
import { isAddress } from '../../capture/address.ts';
import type { FlowExplanation } from '../../engine/explain.ts';
import { configurationReader, type GivenOptions } from '../configuration.ts';
import { type CommandContext, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';

export interface TestOptions extends GivenOptions {
  readonly config?: string;
  readonly protocol?: string;
  readonly source?: string;
  readonly json?: boolean;
}

export async function test(
  context: CommandContext,
  host: string,
  portText: string,
  options: TestOptions,
): Promise<number> {
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65_535) {
    throw new UsageError({ problem: `"${portText}" is not a port.`, remedy: 'Give a number from 1 to 65535.' });
  }
  const protocol = options.protocol ?? 'tcp';
  if (protocol !== 'tcp' && protocol !== 'udp') {
    throw new UsageError({ problem: `"${protocol}" is not a protocol.`, remedy: 'Give tcp or udp.' });
  }
  const { source } = options;
  if (source !== undefined && !isAddress(source)) {
    throw new UsageError({ problem: `"${source}" is not a source address.`, remedy: 'Give an IPv4 or IPv6 address.' });
  }
  const reader = await configurationReader(context, options.config, options);
  const configuration = await reader.read();
  const { explainFlow } = await import('../../engine/explain.ts');
  const explained = explainFlow(configuration, host, port, { protocol, ...(source === undefined ? {} : { source }) });
  if (options.json === true) {
    writeJson(context.stdout, explained);
    return EXIT.done;
  }
  context.stdout.write(`${host} port ${port}/${protocol}: ${verdictText(explained)}\n`);
  for (const line of explained.reasons) context.stdout.write(`  ${line}\n`);
  return EXIT.done;
}

function verdictText({ decision, service, dialers = [] }: FlowExplanation): string {
  switch (decision) {
    case 'service':
      return `the service ${service} takes it, dialled by ${dialers.join(', then ')}`;
    case 'direct':
      return 'captured by its name, and carried to its real address';
    case 'spare':
      return 'excluded, and left alone';
    case 'deny':
      return 'captured, and refused';
    case 'none':
      return 'not intercepted';
  }
}
