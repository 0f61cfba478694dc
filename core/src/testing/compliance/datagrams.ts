/** UDP: what is captured and what is not, sessions and their ends, and answers from where the client wrote to. */
import { strict as assert } from 'node:assert';
import { countByKind, descriptorsOf } from '../descriptors.ts';
import { datagramArguments, peerCommand, runClients, runDatagrams, startPeer, type DatagramOptions } from '../peers.ts';
import { forwarded, onStage, type StagedCase } from './case.ts';
import { heldClients, realEndpoints, seen, server, udpServices, upstreamEndpoints } from './datagram-clients.ts';
import { SIDES, type Stage } from './stage.ts';
import { addClientAddress } from './steering.ts';

async function original(stage: Stage, keepsSource = true): Promise<void> {
  await stage.udp('upstream', upstreamEndpoints());
  const weir = await stage.weir({ services: udpServices(), timeouts: { 'udp-idle': '1s' } });
  const clients = SIDES.flatMap(({ capturedHost }) =>
    [false, true].map((connected) => server(stage, `${capturedHost}:7000`, { connected })),
  );
  assert.deepEqual(await Promise.all(clients), ['upstream', 'upstream', 'upstream', 'upstream']);
  const records = await weir.ended(4);
  assert.equal(records.length, 4);
  for (const side of SIDES) {
    const own = records.filter(({ original: { address } }) => address === side.captured);
    assert.equal(own.length, 2);
    for (const record of own) {
      assert.deepEqual(record.original, { address: side.captured, port: 7000 });
      assert.equal(record.source.address === stage.source(side), keepsSource, `the source is ${record.source.address}`);
      assert.deepEqual(record.upstream, { address: side.upstream, port: 9000 });
      assert.equal(record.service, `udp${side.family}`);
      assert.equal(record.protocol, 'udp');
      assert.equal(record.outcome, 'closed');
    }
  }
}

/** Empty, small, as large as a link takes, and fragmented ones. */
async function sizes(stage: Stage): Promise<void> {
  await stage.udp('upstream', upstreamEndpoints(), 'echo');
  const weir = await stage.weir({ services: udpServices() });
  let sent = 0;
  for (const side of SIDES) {
    for (const bytes of [0, 1, 1200, 1472, 4000, 60_000]) {
      const report = await runDatagrams(stage.client, [`${side.capturedHost}:7000`], { bytes, rounds: 3 });
      const { right, wrong, lost, errors } = report;
      assert.deepEqual({ right, wrong, lost, errors }, { right: 3, wrong: 0, lost: 0, errors: {} }, `${bytes} bytes`);
      sent += 3;
    }
  }
  const { counters } = await weir.admin.status();
  assert.equal(counters['datagramsUp'], sent);
  assert.equal(counters['datagramsDown'], sent);
}

/** Two clients of one destination, and one client of several, are sessions of their own. */
async function apart(stage: Stage): Promise<void> {
  await stage.udp('upstream', upstreamEndpoints());
  const weir = await stage.weir({
    services: udpServices().map((service) => ({ ...service, ports: [7000, 7001] })),
  });
  for (const side of SIDES) {
    const targets = [`${side.capturedHost}:7000`, `${side.otherHost}:7000`, `${side.capturedHost}:7001`];
    const clients = await seen(stage, targets, { count: 10, rounds: 2 });
    const sockets = new Set<string>();
    for (const answers of clients) {
      const sources = answers.map(({ source }) => source.port);
      assert.deepEqual(sources.slice(0, 3), sources.slice(3), 'a session keeps its socket');
      for (const { source } of answers) sockets.add(`${source.port}`);
    }
    assert.equal(sockets.size, 30, 'ten clients of three destinations are thirty sessions');
  }
  const flows = await weir.admin.flows(1000);
  assert.equal(flows.length, 60);
  assert.equal(new Set(flows.map(({ source, original: to }) => JSON.stringify([source, to]))).size, 60);
}

async function idleEnds(stage: Stage): Promise<void> {
  await stage.udp('upstream', upstreamEndpoints());
  const weir = await stage.weir({ services: udpServices(), timeouts: { 'udp-idle': '1s' } });
  const clients = await Promise.all(SIDES.map((side) => heldClients(stage, [`${side.capturedHost}:7000`], 3)));
  const ports = async () => {
    const answers = await Promise.all(clients.map((each) => each.again()));
    return answers.flat().map(([answer]) => answer?.source.port);
  };
  const before = await ports();
  const deadline = Date.now() + 10_000;
  while ((await weir.admin.flows(10)).length > 0) {
    assert.ok(Date.now() < deadline, 'silent sessions end');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  // The same client is a new session, also where the kernel still remembers the old one.
  const after = await ports();
  for (const [place, port] of after.entries()) assert.notEqual(port, before[place]);
  assert.equal(after.length, 6);
  for (const each of clients) await each.process[Symbol.asyncDispose]();
  for (const { outcome, protocol } of await weir.ended(6)) {
    assert.deepEqual({ outcome, protocol }, { outcome: 'closed', protocol: 'udp' });
  }
}

/** TCP and the next port of a service of UDP alone reach the real host, and ICMP does. */
async function neighbours(stage: Stage): Promise<void> {
  await stage.http('real', 7000);
  await stage.udp('real', realEndpoints(7001));
  await stage.udp('upstream', upstreamEndpoints());
  const weir = await stage.weir({ services: udpServices() });
  for (const side of SIDES) {
    assert.equal((await stage.get(`http://${side.capturedHost}:7000/`)).server, 'real', 'TCP of that port');
    const [answers] = await seen(stage, [`${side.capturedHost}:7001`]);
    assert.equal(answers?.[0]?.server, 'real', 'the next port');
    assert.equal(answers?.[0]?.source.address, stage.source(side), 'with its own source');
    const closed = await runDatagrams(stage.client, [`${side.capturedHost}:7002`], { connected: true });
    assert.deepEqual(closed.errors, { ECONNREFUSED: 1 }, 'a closed port of the real host refuses');
    await stage.client.check(['ping', `-${side.family}`, '-n', '-c', '1', '-W', '3', side.captured]);
  }
  assert.deepEqual(await weir.admin.flows(10), [], 'none of it was captured');
  assert.deepEqual(await weir.ended(0), [], 'none of it was captured');
}

async function bypassMark(stage: Stage): Promise<void> {
  await stage.udp('real', realEndpoints(7000));
  await stage.udp('upstream', upstreamEndpoints());
  await stage.weir({ services: udpServices() });
  for (const side of SIDES) {
    const target = `${side.capturedHost}:7000`;
    assert.equal(await server(stage, target, { mark: 0x2000_0000 }), 'real', 'a marked datagram');
    assert.equal(await server(stage, target), 'upstream', 'an unmarked one');
  }
}

async function ownDial(stage: Stage): Promise<void> {
  await stage.udp('real', realEndpoints(7000));
  const weir = await stage.weir({
    services: SIDES.map(({ family, prefix }) => ({
      name: `p${family}`,
      addresses: [prefix],
      ports: [7000],
      protocols: ['udp'],
    })),
  });
  for (const side of SIDES) assert.equal(await server(stage, `${side.capturedHost}:7000`), 'real');
  const flows = await weir.admin.flows(10);
  const upstreams = new Set(flows.map(({ upstream }) => upstream?.address));
  assert.deepEqual(upstreams, new Set(SIDES.map(({ captured }) => captured)));
  assert.equal(flows.length, 2, 'one session per client: Weir has not captured itself');
}

async function exclusions(stage: Stage): Promise<void> {
  await stage.udp('real', realEndpoints(7000));
  await stage.udp('upstream', upstreamEndpoints());
  await stage.weir({ services: udpServices(), exclude: SIDES.map(({ other }) => other) });
  for (const side of SIDES) {
    assert.equal(await server(stage, `${side.otherHost}:7000`), 'real');
    assert.equal(await server(stage, `${side.capturedHost}:7000`), 'upstream');
  }
}

async function sources(stage: Stage): Promise<void> {
  await stage.udp('real', realEndpoints(7000));
  await stage.udp('upstream', upstreamEndpoints());
  await addClientAddress(stage, '10.9.0.1');
  const services = udpServices(SIDES.filter(({ family }) => family === 4));
  await stage.weir({ services: services.map((service) => ({ ...service, sources: ['10.9.0.0/16'] })) });
  const target = '203.0.113.7:7000';
  assert.equal(await server(stage, target, { bind: '10.9.0.1' }), 'upstream');
  assert.equal(await server(stage, target, { bind: stage.source({ family: 4 }) }), 'real');
}

/** Sockets that have a source from the first datagram on, because they are connected; others ask with each for a route. */
const CONNECTED: DatagramOptions = { connected: true };

/** Living sessions stay where they are when their service goes; new ones follow the new configuration. */
async function updates(stage: Stage, living: DatagramOptions = {}): Promise<void> {
  await stage.udp('real', realEndpoints(7000, 7001));
  await stage.udp('upstream', upstreamEndpoints());
  const added = SIDES.map((side) => ({
    name: `added${side.family}`,
    addresses: [side.prefix],
    ports: [7001],
    protocols: ['udp'],
    dialer: { type: 'direct', to: `${side.upstreamHost}:9000` },
  }));
  const weir = await stage.weir({ services: udpServices() });
  const held = await Promise.all(SIDES.map((side) => heldClients(stage, [`${side.capturedHost}:7000`], 5, living)));
  await weir.reload(stage.configuration({ services: added }));
  for (const side of SIDES) {
    assert.equal(await server(stage, `${side.capturedHost}:7001`), 'upstream', 'an added service is captured');
    assert.equal(await server(stage, `${side.capturedHost}:7000`), 'real', 'a removed one is not');
  }
  for (const clients of held) {
    for (const [answer] of await clients.again()) assert.equal(answer?.server, 'upstream', 'living sessions go on');
    await clients.process[Symbol.asyncDispose]();
  }
}

async function drains(stage: Stage, living: DatagramOptions = {}): Promise<void> {
  await stage.udp('real', realEndpoints(7000));
  await stage.udp('upstream', upstreamEndpoints());
  const weir = await stage.weir({ services: udpServices(), timeouts: { drain: '20s' } });
  const held = await Promise.all(SIDES.map((side) => heldClients(stage, [`${side.capturedHost}:7000`], 2, living)));
  const drained = weir.admin.drain();
  for (const side of SIDES) {
    const deadline = Date.now() + 10_000;
    while ((await server(stage, `${side.capturedHost}:7000`)) !== 'real') {
      assert.ok(Date.now() < deadline, 'a new session is not captured any more');
    }
  }
  for (const clients of held) {
    for (const [answer] of await clients.again()) assert.equal(answer?.server, 'upstream', 'living sessions go on');
    await clients.process[Symbol.asyncDispose]();
  }
  assert.deepEqual(await drained, { remaining: 0 }, 'silent sessions are not waited for long');
}

/** Servers of the host on wildcard sockets answer whoever asked them, also when everything is captured. */
async function wildcardServers(stage: Stage): Promise<void> {
  const listen = ['--listen', '0.0.0.0:5300', '--listen', '[::]:5300'];
  await startPeer(stage.host, 'udp-server', [...listen, '--name', 'own']);
  const targets = ['10.1.0.2:5300', '[fd00:1::2]:5300'];
  // From an address that is no connected network of the host.
  const far = SIDES.map(({ captured }) => captured);
  const ask = (target: string, bind: string) =>
    runDatagrams(stage.neighbour, [target], { mode: 'seen', bind, timeoutMs: 2000 });
  const older = targets.map((target) =>
    stage.neighbour.spawn(peerCommand('udp-client', datagramArguments([target], { mode: 'hold' }))),
  );
  for (const client of older) await client.waitFor(/"right":1/);
  await stage.weir({
    services: [{ name: 'all', addresses: ['0.0.0.0/0', '::/0'], protocols: ['tcp', 'udp'] }],
  });
  for (const [place, target] of targets.entries()) {
    const near = await runDatagrams(stage.neighbour, [target], { mode: 'seen' });
    assert.equal(near.right, 1, 'a near client');
    assert.equal((await ask(target, far[place] ?? '')).right, 1, 'a far client');
  }
  for (const client of older) {
    client.stdin.write('\n');
    await client.waitFor(/"right":1[^]*"right":1/);
    await client[Symbol.asyncDispose]();
  }
  const own = await runDatagrams(stage.host, ['127.0.0.1:5300'], { mode: 'seen' });
  assert.equal(own.right, 1, "the host's own client");
}

async function owners(stage: Stage): Promise<void> {
  await stage.udp('upstream', upstreamEndpoints());
  const before = await stage.host.state();
  const [four, six] = udpServices();
  const first = await stage.weir({ services: [four], owner: 'first' });
  const second = await stage.weir({ services: [six], owner: 'second' });
  const held = await heldClients(stage, [`${SIDES[1]?.capturedHost}:7000`], 3);
  for (const side of SIDES) assert.equal(await server(stage, `${side.capturedHost}:7000`), 'upstream');
  assert.equal((await first.admin.flows(10)).length, 1, 'each owner has its own session');
  assert.equal((await first.stop()).code, 0);
  await held.again();
  await held.process[Symbol.asyncDispose]();
  assert.equal((await second.stop()).code, 0);
  assert.equal(await stage.host.state(), before);
}

/** A closed upstream port is told by ICMP, and so is a service that refuses; a session goes on when somebody listens. */
async function closedUpstream(stage: Stage): Promise<void> {
  const refusing = SIDES.map(({ family, prefix }) => ({
    name: `refuses${family}`,
    addresses: [prefix],
    ports: [7009],
    protocols: ['udp'],
    dialer: 'reset',
  }));
  const weir = await stage.weir({ services: [...udpServices(), ...refusing] });
  for (const side of SIDES) {
    for (const port of [7000, 7009]) {
      const target = `${side.capturedHost}:${port}`;
      const { right, wrong, errors } = await runDatagrams(stage.client, [target], { connected: true, timeoutMs: 3000 });
      assert.deepEqual({ right, wrong, errors }, { right: 0, wrong: 0, errors: { ECONNREFUSED: 1 } }, target);
    }
  }
  assert.ok(((await weir.admin.status()).counters['datagramsRefused'] ?? 0) > 0, 'it is counted');
  await stage.udp('upstream', upstreamEndpoints());
  for (const side of SIDES) assert.equal(await server(stage, `${side.capturedHost}:7000`), 'upstream');
}

async function descriptors(stage: Stage): Promise<void> {
  await stage.udp('upstream', upstreamEndpoints(), 'echo');
  const weir = await stage.weir({ services: udpServices(), timeouts: { 'udp-idle': '1s' } });
  const settled = async () => {
    const until = Date.now() + 10_000;
    while ((await weir.admin.flows(1)).length > 0) {
      assert.ok(Date.now() < until, 'sessions do not end');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return countByKind(descriptorsOf(weir.process.pid))['socket'] ?? 0;
  };
  const before = await settled();
  for (const side of SIDES) {
    const { right } = await runDatagrams(stage.client, [`${side.capturedHost}:7000`], { count: 200, rounds: 2 });
    assert.equal(right, 400);
  }
  // The connection of the question itself closes a moment later.
  const until = Date.now() + 5000;
  let after = await settled();
  while (after > before && Date.now() < until) after = await settled();
  assert.ok(after <= before, `sockets are left open: ${before} before, ${after} after`);
}

/** A service of both protocols takes both, each as its own. */
async function bothProtocols(stage: Stage): Promise<void> {
  await stage.udp('upstream', upstreamEndpoints());
  await startPeer(stage.neighbour, 'tcp-server', [
    ...SIDES.flatMap(({ any }) => ['--listen', `${any}:9000`]),
    '--mode',
    'echo',
  ]);
  const weir = await stage.weir({
    services: udpServices().map((service) => ({ ...service, protocols: ['tcp', 'udp'] })),
    timeouts: { 'udp-idle': '1s' },
  });
  for (const side of SIDES) {
    assert.equal(await server(stage, `${side.capturedHost}:7000`), 'upstream');
    const { outcomes } = await runClients(stage.client, `${side.capturedHost}:7000`, { mode: 'exchange' });
    assert.deepEqual(outcomes, { eof: 1 });
  }
  const protocols = (await weir.ended(4)).map(({ protocol }) => protocol).toSorted();
  assert.deepEqual(protocols, ['tcp', 'tcp', 'udp', 'udp']);
}

/** Of mechanisms that give local flows a source of their own. */
const OWN_SOURCE: readonly StagedCase[] = [
  ...[false, true].map((routed) =>
    onStage(
      `UDP is answered from the address the client wrote to, and comes from Weir's own source, where there is ${routed ? 'a' : 'no'} route`,
      (stage) => original(stage, false),
      { routed, holdsFor: 'own source' },
    ),
  ),
  onStage('an update leaves living UDP sessions of connected sockets', (stage) => updates(stage, CONNECTED), {
    routed: true,
    holdsFor: 'own source',
  }),
  onStage('a drain lets living UDP sessions of connected sockets go on', (stage) => drains(stage, CONNECTED), {
    routed: true,
    holdsFor: 'own source',
  }),
];

const COMMON: readonly StagedCase[] = [
  ...[false, true].map((routed) =>
    onStage(
      `UDP is answered from the address the client wrote to, where there is ${routed ? 'a' : 'no'} route`,
      (stage) => original(stage),
      { routed, holdsFor: 'kept source' },
    ),
  ),
  onStage('UDP of any size arrives unchanged, both ways', sizes, {
    forwardedNotByRoutes: 'later fragments have no ports, so that no rule on ports brings them here',
  }),
  onStage('two UDP clients of one destination, and one client of several, are kept apart', apart),
  onStage('idle UDP sessions end, and the same client begins a new one', idleEnds),
  onStage('the neighbour port, TCP and ICMP of a service of UDP alone reach the real host', neighbours, {
    routed: true,
  }),
  onStage('UDP exclusions reach the real host', exclusions, { routed: true }),
  onStage('a UDP service with sources takes only datagrams from them', sources, {
    routed: true,
    holdsFor: 'kept source',
  }),
  onStage('an update leaves living UDP sessions where they are', (stage) => updates(stage), {
    routed: true,
    holdsFor: 'kept source',
    forwardedNotByRoutes: 'nothing tells the living sessions of a removed prefix from others: they go to the real host',
  }),
  onStage('a drain takes no new UDP session and lets the living ones go on', (stage) => drains(stage), {
    routed: true,
    holdsFor: 'kept source',
  }),
  onStage('a service of both protocols takes both', bothProtocols),
];

export const DATAGRAM_CASES: readonly StagedCase[] = [
  ...COMMON,
  ...OWN_SOURCE,
  onStage("Weir's own datagrams to a captured address arrive at the real host", ownDial, { routed: true }),
  onStage('a datagram with the bypass mark is not captured', bypassMark, { routed: true }),
  onStage('answers of UDP servers on wildcard sockets are left alone', wildcardServers, {
    routed: true,
    holdsFor: 'kept source',
  }),
  onStage('UDP sessions of two owners are kept apart', owners),
  onStage('a closed upstream port refuses as it would without Weir, and does not end the session', closedUpstream),
  onStage('no descriptor is left when UDP sessions have ended', descriptors),
];

export const FORWARD_DATAGRAM_CASES: readonly StagedCase[] = forwarded([
  ...COMMON,
  onStage("Weir's own datagrams to a captured address arrive at the real host", ownDial, { routed: true }),
  onStage('UDP sessions of two owners are kept apart', owners),
  onStage('a closed upstream port refuses as it would without Weir, and does not end the session', closedUpstream),
]);
