/** The life of a TPROXY mechanism beyond what holds for every one (HOOK_CASES), and what others may do to it meanwhile. */
import { strict as assert } from 'node:assert';
import { libc } from '../sys/index.ts';
import type { TestService } from './plan-input.ts';
import { accept, arrival, attempt, connect, passes } from './single-flows.ts';
import { enterFreshNamespace, shell } from './thread-namespace.ts';
import { signal, type TproxyCase, type TproxyEnvironment, V4, V6, WEB } from './tproxy-case.ts';

async function drains({ make }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace({ uplink: true });
  await using weir = make();
  const update = (generation: number, more: Parameters<typeof weir.input>[2] = {}) =>
    weir.interceptor.update(weir.input([WEB, { prefixes: ['9.0.0.0/8'] }], {}, { ...more, generation }), signal);
  await weir.start(weir.input([WEB]));
  assert.deepEqual(arrival(weir.listeners[4], V4), V4);
  await weir.interceptor.drain(signal);
  assert.equal(arrival(weir.listeners[4], V4), 'pending');
  assert.deepEqual(await weir.interceptor.verify(signal), []);
  await update(2);
  assert.equal(arrival(weir.listeners[4], V4), 'pending', 'an update keeps to it');
  const owner = { kind: 'uid', first: process.getuid?.() ?? 0, last: 65_535 } as const;
  await update(3, {
    owners: { only: [owner], except: [] },
    scopes: { output: true, forward: { interfaces: ['up0'] } },
  });
  assert.equal(arrival(weir.listeners[4], V4), 'pending', 'also where owners are chosen');
}

async function withoutIpv6({ make, state }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace({ uplink: true });
  shell('echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6');
  const before = state();
  await using weir = make();
  const points = await weir.interceptor.provision(signal, []);
  assert.deepEqual(
    points.map(({ id }) => id),
    ['tcp4', 'udp4'],
  );
  await weir.start(weir.input([WEB]));
  assert.equal(attempt(V4), 'connected');
  assert.doesNotMatch(shell('ip6tables-save; ip -6 rule'), /weir|proto 87/);
  assert.deepEqual(await weir.interceptor.verify(signal), []);
  await weir.interceptor.stop();
  assert.equal(state(), before);
}

export const TPROXY_LIFECYCLE_CASES: readonly TproxyCase[] = [
  { name: 'drain stops steering new flows; verify agrees with it, and an update keeps to it', run: drains },
  { name: 'IPv6 switched off: IPv4 is steered, and nothing of IPv6 is touched', run: withoutIpv6 },
];

/** What somebody does to the host, and the objects whose drift must be told then, in any order. */
export interface Meddling {
  /** For a shell. */
  readonly command: string;
  readonly objects: readonly string[];
}

/**
 * Drift is named and mended, and a living flow does not notice.
 * @param services have port 443 of the addresses of {@link WEB}.
 * @throws AssertionError.
 */
export async function mends(
  { make, state }: TproxyEnvironment,
  { command, objects }: Meddling,
  services: readonly TestService[] = [WEB],
): Promise<void> {
  const lines = () => state().split('\n').toSorted();
  enterFreshNamespace({ uplink: true });
  await using weir = make();
  await weir.start(weir.input(services));
  const right = lines();
  const client = connect(V4);
  const flow = accept(weir.listeners[4]);
  if (typeof client === 'string' || !flow) throw new Error('no flow');
  assert.deepEqual(await weir.interceptor.verify(signal), []);
  shell(command);
  const drift = await weir.interceptor.verify(signal);
  assert.deepEqual(drift.map(({ object }) => object).toSorted(), objects.toSorted());
  for (const { expected, found } of drift) assert.notEqual(expected, found);
  await weir.interceptor.repair(drift, signal);
  assert.deepEqual(await weir.interceptor.verify(signal), []);
  assert.deepEqual(lines(), right);
  assert.ok(passes(client, flow.fd) && passes(flow.fd, client), 'a living flow goes on');
  assert.deepEqual(arrival(weir.listeners[4], V4), V4);
  assert.deepEqual(arrival(weir.listeners[6] ?? -1, V6), V6);
  for (const fd of [client, flow.fd]) libc.close(fd);
}
