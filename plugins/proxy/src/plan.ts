/** What `start` opens: sockets, and nothing else of the host. Pure. */
import { type BoundPoint, familyOf, formatPrefix, isAddress, type Plan, type PlanInput } from '@weir/core';

function hostPort(host: string, port: number): string {
  return isAddress(host) && familyOf(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `tcp 127.0.0.1:15432 # db -> 10.0.0.5:6432`. */
export function describePoint({ id, network, bind, port, original }: BoundPoint): string {
  const where = `${network.protocol} ${hostPort(bind.address, port)}`;
  if (original.via !== 'fixed') return where;
  const { target, sources = [] } = original;
  const to = target.host === '' ? '' : ` -> ${hostPort(target.host, target.port)}`;
  const from = sources.length === 0 ? '' : `, only from ${sources.map(formatPrefix).join(', ')}`;
  return `${where} # ${id}${to}${from}`;
}

export function planOf({ points }: PlanInput): Plan {
  return {
    interceptor: 'proxy',
    steps: [{ tool: 'listen', text: points.map((point) => `${describePoint(point)}\n`).join('') }],
  };
}
