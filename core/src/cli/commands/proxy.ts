/** `weir proxy SERVICE:PORT…`: listens for services and captures nothing, so it needs no privilege. */
import { UsageError } from '../../api/errors.ts';
import type { Protocol } from '../../api/flow.ts';
import { isAddress } from '../../capture/address.ts';
import type { Configuration, ServiceConfiguration } from '../../config/model.ts';
import { didYouMean } from '../../config/suggest.ts';
import type { GivenOptions } from '../configuration.ts';
import type { CommandContext } from '../context.ts';
import { run, type StartEngine } from './run.ts';

const EXAMPLE = 'weir proxy db:15432 weir.yaml';
const LISTENER = /^([\w.-]+):(\d{1,5})(?::(\w+))?$/;

interface Wanted {
  readonly service: string;
  readonly port: number;
  readonly protocol: Protocol;
}

function usage(problem: string, remedy: string): UsageError {
  return new UsageError({ problem, remedy });
}

function wantedOf(argument: string): Wanted {
  const [, service = '', portText = '', protocol = 'tcp'] = LISTENER.exec(argument) ?? [];
  const port = Number(portText);
  if (service === '') {
    throw usage(`"${argument}" is no listener.`, `Give SERVICE:PORT, as in ${EXAMPLE}.`);
  }
  if (port < 1 || port > 65_535) {
    throw usage(`The port of "${argument}" is out of range.`, 'Give a port from 1 to 65535.');
  }
  if (protocol !== 'tcp' && protocol !== 'udp') {
    throw usage(`"${protocol}" in "${argument}" is no protocol.`, 'Give tcp or udp, or leave it out for tcp.');
  }
  return { service, port, protocol };
}

/**
 * Splits arguments into listeners and, as the last one, the configuration.
 * @throws UsageError
 */
export function parseProxyArguments(args: readonly string[]): {
  readonly wanted: readonly Wanted[];
  readonly config?: string;
} {
  const last = args.at(-1);
  const config = last !== undefined && args.length > 1 && !LISTENER.test(last) ? last : undefined;
  const wanted = (config === undefined ? args : args.slice(0, -1)).map(wantedOf);
  for (const key of ['service', 'port'] as const) {
    // A service may have one listener of each protocol, on one port or two.
    const isSame = (one: Wanted, other: Wanted) => one[key] === other[key] && one.protocol === other.protocol;
    const twice = wanted.find((one, i) => wanted.findIndex((other) => isSame(one, other)) !== i);
    if (twice !== undefined) {
      throw usage(`The ${key} ${twice[key]} is given twice.`, 'Give each service one port of its own.');
    }
  }
  return { wanted, ...(config === undefined ? {} : { config }) };
}

/** The configuration with these services alone, each with its listener. @throws UsageError */
export function withListeners(configuration: Configuration, wanted: readonly Wanted[], bind: string): Configuration {
  const services = wanted.map(({ service: name, port, protocol }): ServiceConfiguration => {
    const found = configuration.services.find((service) => service.name === name);
    const names = configuration.services.map((service) => service.name);
    if (found === undefined) {
      throw usage(
        `The configuration has no service ${name}${didYouMean(name, names)}.`,
        `Name one of ${names.join(', ')}.`,
      );
    }
    if (!found.protocols.includes(protocol)) {
      throw usage(
        `The service ${name} is not for ${protocol}.`,
        `Ask for ${name}:${port}:${found.protocols.join(` or ${name}:${port}:`)}, or add ${protocol} to its protocols.`,
      );
    }
    // Two listeners of one service are two services here, or each would take the other's protocol.
    const second = wanted.some((one) => one.service === name && one.protocol !== protocol) && protocol === 'udp';
    return { ...found, name: second ? `${name}/udp` : name, protocols: [protocol], listen: { address: bind, port } };
  });
  return { ...configuration, services };
}

export async function proxy(
  context: CommandContext,
  args: readonly string[],
  options: GivenOptions & { readonly bind?: string },
  start?: StartEngine,
): Promise<number> {
  const { bind = '127.0.0.1' } = options;
  if (!isAddress(bind)) throw usage(`"${bind}" is no address.`, 'Give --bind an IPv4 or IPv6 address of this host.');
  const { wanted, config } = parseProxyArguments(args);
  const { listenerFault } = await import('../../engine/service-listeners.ts');
  const adjust = (configuration: Configuration): Configuration => {
    const adjusted = withListeners(configuration, wanted, bind);
    for (const service of adjusted.services) {
      const fault = listenerFault(service, adjusted.dialers);
      if (fault !== undefined) throw usage(`There cannot be a listener: ${fault}.`, 'Change it in the configuration.');
    }
    return adjusted;
  };
  return run(context, config, { ...options, interceptor: 'proxy' }, start, adjust);
}
