/** What single TCP connections meet under a TPROXY mechanism. */
import { strict as assert } from 'node:assert';
import type { Endpoint } from '../api/flow.ts';
import { hostFacts } from '../host/facts.ts';
import { numbersOf } from '../host/numbers.ts';
import { libc, openSocket, socketName } from '../sys/index.ts';
import { TEST_NUMBERS } from './plan-input.ts';
import { accept, arrival, attempt, connect, passes } from './single-flows.ts';
import { enterFreshNamespace, shell } from './thread-namespace.ts';
import { signal, type TproxyCase, type TproxyEnvironment, V4, V6, WEB } from './tproxy-case.ts';
import type { TproxyInstance } from './tproxy-instance.ts';

const CANARY4 = { address: '192.0.2.1', port: 4711 };
const CANARY6 = { address: '2001:db8::1', port: 4711 };

/** Arrives with its own name. */
function arrives(weir: TproxyInstance, target: Endpoint, mark = 0): void {
  const listener = weir.listeners[target.address.includes(':') ? 6 : 4] ?? -1;
  assert.deepEqual(arrival(listener, target, mark), target);
}

interface Flow {
  readonly client: number;
  readonly served: number;
}

/** One that stands, from its client to a listener. */
function flowTo(listener: number, target: Endpoint): Flow {
  const client = connect(target);
  const flow = accept(listener);
  if (!flow || typeof client === 'string') throw new Error(`no flow to ${target.address}: ${client}`);
  return { client, served: flow.fd };
}

function lives({ client, served }: Flow): void {
  assert.ok(passes(client, served), 'bytes go from the client to the upstream');
  assert.ok(passes(served, client), 'and back');
}

function close(...flows: readonly Flow[]): void {
  for (const { client, served } of flows) for (const fd of [client, served]) libc.close(fd);
}

function captured(uplink: boolean): TproxyCase['run'] {
  return async ({ make }) => {
    enterFreshNamespace({ uplink });
    await using weir = make();
    await weir.start(weir.input([WEB]));
    for (const target of [V4, V6, CANARY4, CANARY6]) arrives(weir, target);
  };
}

async function leftAlone({ make }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace({ uplink: true });
  await using weir = make();
  await weir.start(weir.input([WEB]));
  const others = [
    { ...V4, port: 444 },
    { ...V6, port: 444 },
    { address: '198.51.100.1', port: 443 },
  ];
  for (const target of others) assert.equal(arrival(weir.listeners[4], target), 'pending');
  assert.equal(arrival(weir.listeners[4], V4, TEST_NUMBERS.bypassMark), 'pending');
  for (const address of ['127.0.0.1', '10.1.0.2']) assert.equal(attempt({ address, port: 443 }), 'ECONNREFUSED');
}

async function withoutRoute({ make }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace();
  await using weir = make();
  await weir.start(weir.input([WEB]));
  // The first two have Weir's route and get RST; the third has none at all, as before.
  assert.equal(attempt({ ...V4, port: 444 }), 'ECONNREFUSED');
  assert.equal(attempt({ ...V6, port: 444 }), 'ECONNREFUSED');
  assert.equal(attempt({ address: '198.51.100.1', port: 443 }), 'ENETUNREACH');
  assert.equal(attempt(V4, TEST_NUMBERS.bypassMark), 'ENETUNREACH');
}

async function ownAddresses({ make }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace({ uplink: true });
  await using weir = make();
  const names = { prefixes: ['127.0.0.53/32', '10.1.0.2/32', '2001:db8:1::2/128'], ports: [[53, 53]] as const };
  await weir.start(weir.input([names, { prefixes: ['0.0.0.0/0', '::/0'] }]));
  for (const address of ['127.0.0.53', '10.1.0.2', '2001:db8:1::2']) {
    arrives(weir, { address, port: 53 });
    assert.equal(attempt({ address, port: 54 }), 'ECONNREFUSED');
  }
  assert.equal(attempt({ address: '::1', port: 54 }), 'ECONNREFUSED');
  arrives(weir, { address: '198.51.100.1', port: 9 });
}

async function owners({ make }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace({ uplink: true });
  await using weir = make();
  const uid = process.getuid?.() ?? 0;
  const gid = process.getgid?.() ?? 0;
  const of = (kind: 'uid' | 'gid', first: number) => [{ kind, first, last: first }];
  const choose = (only: ReturnType<typeof of>, except: ReturnType<typeof of>) =>
    weir.input([WEB], {}, { owners: { only, except } });
  await weir.start(choose([], of('uid', uid)));
  assert.equal(arrival(weir.listeners[4], V4), 'pending');
  arrives(weir, CANARY4);
  await weir.interceptor.update(choose(of('uid', uid), []), signal);
  arrives(weir, V4);
  await weir.interceptor.update(choose(of('gid', gid), []), signal);
  arrives(weir, V6);
  await weir.interceptor.update(choose(of('gid', gid), of('uid', uid)), signal);
  assert.equal(arrival(weir.listeners[4], V4), 'pending');
  await weir.interceptor.update(choose(of('uid', uid + 1), []), signal);
  assert.equal(arrival(weir.listeners[4], V4), 'pending');
  arrives(weir, CANARY4);
}

async function foreignMark({ make }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace({ uplink: true });
  await using weir = make();
  await weir.start(weir.input([WEB]));
  const seen = 'meta mark and 0x40000007 == 0x40000007 meta mark and 0x3f000000 != 0 counter';
  shell(`nft 'table inet seen { chain c { type filter hook prerouting priority -140; ${seen}; }; }'`);
  arrives(weir, V4, 0x4000_0007);
  assert.match(shell('nft list table inet seen'), /counter packets [1-9]/, "somebody's bits are beside ours");
}

function removal(uplink: boolean): TproxyCase['run'] {
  return async ({ make }) => {
    enterFreshNamespace({ uplink });
    await using weir = make();
    await weir.start(weir.input([WEB]));
    const flows = [flowTo(weir.listeners[4], V4), flowTo(weir.listeners[6] ?? -1, V6)];
    await weir.interceptor.update(weir.input([], {}, { generation: 2 }), signal);
    for (const flow of flows) lives(flow);
    assert.equal(arrival(weir.listeners[4], V4), uplink ? 'pending' : 'ECONNREFUSED');
    assert.deepEqual(await weir.interceptor.verify(signal), []);
    await weir.interceptor.drain(signal);
    for (const flow of flows) lives(flow);
    close(...flows);
  };
}

async function exclusions({ make }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace();
  await using weir = make();
  const half = { address: '203.0.113.200', port: 443 };
  await weir.start(weir.input([WEB], {}, { excludes: ['203.0.113.128/25'] }));
  assert.equal(attempt(half), 'ENETUNREACH');
  const flow = flowTo(weir.listeners[4], V4);
  const update = async (generation: number, excludes: readonly string[]) => {
    await weir.interceptor.update(weir.input([WEB], {}, { generation, excludes }), signal);
    assert.deepEqual(await weir.interceptor.verify(signal), []);
  };
  await update(2, []);
  arrives(weir, half);
  await update(3, ['203.0.113.0/25']);
  assert.equal(attempt(V4), 'ECONNREFUSED');
  lives(flow);
  await update(4, []);
  arrives(weir, V4);
  close(flow);
}

async function olderFlow({ make }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace({ uplink: true });
  // A server beside Weir: the address is this host's own by a route that Weir does not know of.
  shell('ip route add local 198.51.100.0/24 dev lo');
  await using weir = make();
  await weir.start(weir.input([WEB]));
  const server = openSocket({ family: 4, protocol: 'tcp', bind: { address: '198.51.100.9', port: 0 } });
  libc.listen(server, 8);
  const flow = flowTo(server, socketName(server));
  const facts = { ...hostFacts(), ownAddresses: ['198.51.100.9/32'] };
  await weir.interceptor.update(weir.input([WEB, { prefixes: ['198.51.100.9/32'] }], { facts }), signal);
  lives(flow);
  arrives(weir, socketName(server));
  close(flow);
  libc.close(server);
}

async function twoOwners({ make, state }: TproxyEnvironment): Promise<void> {
  enterFreshNamespace({ uplink: true });
  const before = state();
  await using one = make();
  {
    await using two = make({ owner: 'second', numbers: numbersOf(1) });
    await one.start(one.input([WEB]));
    await two.start(two.input([{ prefixes: ['198.51.100.0/24'] }, WEB]));
    // Both want it: the younger one's chains come first, and what one has claimed the other leaves alone.
    arrives(two, V4);
    assert.equal(accept(one.listeners[4], 20), undefined);
    arrives(two, { address: '198.51.100.1', port: 1 });
    assert.deepEqual(await one.interceptor.verify(signal), []);
  }
  arrives(one, V4);
  await one.interceptor.stop();
  assert.equal(state(), before);
}

export const TPROXY_STEERING_CASES: readonly TproxyCase[] = [
  { name: 'a captured destination arrives with its own name, with a default route', run: captured(true) },
  { name: 'a captured destination arrives with its own name, without a default route', run: captured(false) },
  { name: 'what is not captured goes where it went before', run: leftAlone },
  { name: 'without a route, what is not captured is refused at once', run: withoutRoute },
  { name: 'a service that names an own or loopback address is captured, and nothing beside it', run: ownAddresses },
  { name: 'flows are chosen by the owner of their socket, and canaries are exempt', run: owners },
  { name: 'foreign bits of a mark are kept', run: foreignMark },
  { name: 'living flows survive an update that removes them, with a default route', run: removal(true) },
  { name: 'living flows survive an update that removes them, without a default route', run: removal(false) },
  { name: 'an exclusion that comes by update cuts no living flow, and one that goes is captured', run: exclusions },
  { name: 'a flow older than the capture of its destination is left alone', run: olderFlow },
  { name: 'two owners side by side take their own flows, and stopping one leaves the other', run: twoOwners },
];
