/** Check `dns-port`: whether Weir's server gets its ports. */
import { NotPermittedError } from '../api/errors.ts';
import type { Endpoint } from '../api/flow.ts';
import { familyOf } from '../capture/address.ts';
import type { DnsListen } from '../config/model.ts';
import { formatListen } from '../dns/listen-failure.ts';
import { EADDRINUSE, SystemCallError } from '../sys/errno.ts';
import * as libc from '../sys/libc.ts';
import { openSocket } from '../sys/sockets.ts';
import type { DoctorContext } from './context.ts';
import { fine, type Finding } from './report.ts';

/** Loopback addresses that hardly anybody listens on; Linux has all of 127.0.0.0/8. */
const OTHER_ADDRESSES = ['127.0.0.54', '127.0.1.53', '127.84.0.53'] as const;

/** `undefined` when it is free or cannot be told. */
function isTaken({ protocol, endpoint }: DnsListen): boolean {
  if (endpoint.port === 0) return false;
  try {
    const family = familyOf(endpoint.address);
    libc.close(openSocket({ family, protocol, reuseAddress: protocol === 'tcp', bind: endpoint }));
    return false;
  } catch (error) {
    if (error instanceof SystemCallError) return error.errno === EADDRINUSE;
    if (error instanceof NotPermittedError) return false;
    throw error;
  }
}

function freeInstead(listen: readonly DnsListen[]): readonly string[] | undefined {
  const others = (address: string) =>
    listen.map(({ protocol, endpoint }): DnsListen => ({
      protocol,
      endpoint: { ...endpoint, address } satisfies Endpoint,
    }));
  const free = OTHER_ADDRESSES.map(others).find((candidates) => !candidates.some(isTaken));
  return free && [...new Set(free.map(formatListen))];
}

export function checkDnsPort({
  configuration,
  living,
}: Pick<DoctorContext, 'configuration' | 'living'>): readonly Finding[] {
  const check = 'dns-port';
  const { listen } = configuration.resolver;
  if (living.has(configuration.owner))
    return [fine(check, `the instance ${configuration.owner} runs and has its ports`)];
  const taken = listen.filter(isTaken);
  const [first] = taken;
  if (first === undefined) {
    return [
      fine(
        check,
        listen.length === 0 ? 'no DNS server is configured' : `${listen.map(formatListen).join(', ')} can be had`,
      ),
    ];
  }
  const instead = freeInstead(listen);
  return [
    {
      check,
      severity: 'problem',
      what: `another process holds ${taken.map(formatListen).join(' and ')} (\`ss -lntup 'sport = :${first.endpoint.port}'\` shows it)`,
      ...(instead === undefined
        ? { remedy: 'Stop it, or set resolver.listen to another address.' }
        : {
            remedy: `Set resolver.listen: [${instead.join(', ')}] in the configuration, or stop that process.`,
            setting: { key: 'resolver.listen', value: instead },
          }),
    },
  ];
}
