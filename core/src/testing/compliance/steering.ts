/** What is captured, what is not, and what is known of it: TCP connections, made on the host itself or passing through it. */
import { strict as assert } from 'node:assert';
import { clientArguments, peerCommand, runClients, startPeer } from '../peers.ts';
import { forwarded, onStage, type StagedCase } from './case.ts';
import { SIDES, type Side, type Stage } from './stage.ts';

/** Both prefixes, port 80, carried to port 8080 of the neighbour. */
export function webServices(sides: readonly Side[] = SIDES): readonly object[] {
  return sides.map((side) => ({
    name: `web${side.family}`,
    addresses: [side.prefix],
    ports: [80],
    dialer: { type: 'direct', to: `${side.upstreamHost}:8080` },
  }));
}

/** A request to the captured address arrives at the upstream, and the record knows where it came from and wanted to go. */
async function original(stage: Stage): Promise<void> {
  await stage.http('upstream', 8080);
  const weir = await stage.weir({ services: webServices() });
  for (const [index, side] of SIDES.entries()) {
    const url = `http://${side.capturedHost}/`;
    const format = '{"address":"%{local_ip}","port":%{local_port}}';
    const result = await stage.client.run(['curl', '-sS', '-m', '10', '-o', '/dev/null', '-w', format, url]);
    assert.equal(result.code, 0, `curl ${url}: ${result.stderr}`);
    const record = (await weir.ended(index + 1))[index];
    assert.ok(record);
    assert.deepEqual(record.original, { address: side.captured, port: 80 });
    assert.deepEqual(record.source, JSON.parse(result.stdout));
    assert.deepEqual(record.upstream, { address: side.upstream, port: 8080 });
    assert.equal(record.service, `web${side.family}`);
    assert.equal(record.protocol, 'tcp');
    assert.equal(record.interceptor, stage.environment.interceptor);
    assert.equal(record.outcome, 'closed');
  }
}

async function ownDial(stage: Stage): Promise<void> {
  await stage.http('real', 80);
  const weir = await stage.weir({
    services: SIDES.map(({ prefix }) => ({ name: `p${prefix.length}`, addresses: [prefix], ports: [80] })),
  });
  for (const side of SIDES) {
    const seen = await stage.get(`http://${side.capturedHost}/`);
    assert.equal(seen.server, 'real');
    assert.equal(seen.local.address, side.captured);
  }
  const records = await weir.ended(2);
  assert.deepEqual(
    records.map(({ upstream }) => upstream?.address),
    SIDES.map(({ captured }) => captured),
  );
  assert.equal(records.length, 2, 'one flow per request: Weir has not captured itself');
}

async function bypassMark(stage: Stage): Promise<void> {
  await startPeer(stage.neighbour, 'tcp-server', [
    ...SIDES.flatMap(({ any }) => ['--listen', `${any}:80`]),
    '--mode',
    'name',
  ]);
  await startPeer(stage.neighbour, 'tcp-server', [
    ...SIDES.flatMap(({ any }) => ['--listen', `${any}:8080`]),
    '--mode',
    'reset',
  ]);
  await stage.weir({ services: webServices() });
  for (const side of SIDES) {
    const target = `${side.capturedHost}:80`;
    const marked = await runClients(stage.client, target, { mode: 'read', mark: 0x2000_0000 });
    assert.deepEqual(marked.outcomes, { eof: 1 }, `a marked connection to ${target} reaches the real host`);
    const unmarked = await runClients(stage.client, target, { mode: 'read' });
    assert.deepEqual(unmarked.outcomes, { ECONNRESET: 1 }, `an unmarked one is captured`);
  }
}

async function exclusions(stage: Stage): Promise<void> {
  await stage.http('real', 80);
  await stage.http('upstream', 8080);
  const weir = await stage.weir({ services: webServices(), exclude: SIDES.map(({ other }) => other) });
  for (const side of SIDES) {
    assert.equal((await stage.get(`http://${side.otherHost}/`)).server, 'real');
    assert.equal((await stage.get(`http://${side.capturedHost}/`)).server, 'upstream');
  }
  assert.equal((await weir.ended(2)).length, 2);
}

async function precedence(stage: Stage): Promise<void> {
  await stage.http('wide', 8080);
  await stage.http('narrow', 8081);
  await stage.http('ports', 8082);
  const service = (name: string, side: Side, address: string, ports: unknown, port: number) => ({
    name: `${name}${side.family}`,
    addresses: [address],
    ports: [ports],
    dialer: { type: 'direct', to: `${side.upstreamHost}:${port}` },
  });
  await stage.weir({
    services: SIDES.flatMap((side) => [
      service('wide', side, side.prefix, '1-60000', 8080),
      service('narrow', side, side.captured, 80, 8081),
      service('ports', side, side.prefix, '80-90', 8082),
    ]),
  });
  for (const side of SIDES) {
    assert.equal((await stage.get(`http://${side.capturedHost}/`)).server, 'narrow', 'the longest prefix');
    assert.equal((await stage.get(`http://${side.capturedHost}:81/`)).server, 'ports', 'then the narrower range');
    assert.equal((await stage.get(`http://${side.otherHost}:80/`)).server, 'ports', 'then the narrower range');
    assert.equal((await stage.get(`http://${side.otherHost}:443/`)).server, 'wide', 'and what is left to the widest');
  }
}

async function sources(stage: Stage): Promise<void> {
  await stage.http('real', 80);
  await stage.http('upstream', 8080);
  await addClientAddress(stage, '10.9.0.1');
  const [web] = webServices(SIDES.filter(({ family }) => family === 4));
  await stage.weir({ services: [{ ...web, sources: ['10.9.0.0/16'] }] });
  const url = 'http://203.0.113.7/';
  assert.equal((await stage.get(url, '--interface', '10.9.0.1')).server, 'upstream');
  assert.equal((await stage.get(url, '--interface', stage.source({ family: 4 }))).server, 'real');
}

/** Where local flows get Weir's own source: it is a third one, and sockets that have chosen theirs are left alone. */
async function ownSource(stage: Stage): Promise<void> {
  await stage.http('real', 80);
  await stage.http('upstream', 8080);
  const weir = await stage.weir({ services: webServices() });
  for (const [index, side] of SIDES.entries()) {
    const url = `http://${side.capturedHost}/`;
    assert.equal((await stage.get(url)).server, 'upstream');
    const record = (await weir.ended(index + 1))[index];
    assert.notEqual(record?.source.address, stage.source(side), "the source is Weir's own");
    const bound = await stage.get(url, '--interface', stage.source(side));
    assert.equal(bound.server, 'real', 'a socket that is bound to a source is not captured');
    assert.equal(bound.source.address, stage.source(side), 'and keeps it');
  }
  assert.equal((await weir.ended(SIDES.length)).length, SIDES.length);
}

/** A further IPv4 address of the client, to which everybody knows the way. */
export async function addClientAddress(stage: Stage, address: string): Promise<void> {
  await stage.client.addAddress('lo', `${address}/32`);
  await stage.neighbour.addRoute(`${address}/32`, { via: '10.1.0.2' });
  if (stage.client !== stage.host) await stage.host.addRoute(`${address}/32`, { via: stage.source({ family: 4 }) });
}

async function neighbours(stage: Stage): Promise<void> {
  await stage.http('real', 80, 81);
  await stage.http('upstream', 8080);
  for (const { capturedHost } of SIDES) {
    await startPeer(stage.neighbour, 'udp-peer', ['--listen', `${capturedHost}:80`, '--name', 'real']);
  }
  const weir = await stage.weir({ services: webServices() });
  for (const side of SIDES) {
    const { server, source } = await stage.get(`http://${side.capturedHost}:81/`);
    assert.equal(server, 'real', 'the next port reaches the real host');
    assert.equal(source.address, stage.source(side), 'with its own source');
    const closed = await runClients(stage.client, `${side.capturedHost}:82`, { mode: 'read' });
    assert.deepEqual(closed.outcomes, { ECONNREFUSED: 1 }, 'a closed port of the real host refuses');
    const datagram = await stage.client.run(
      peerCommand('udp-peer', ['--send', `${side.capturedHost}:80`, '--text', 'x']),
    );
    assert.equal((JSON.parse(datagram.stdout) as { text?: string }).text, 'real: x', 'UDP reaches the real host');
    await stage.client.check(['ping', `-${side.family}`, '-n', '-c', '1', '-W', '3', side.captured]);
  }
  assert.deepEqual(await weir.ended(0), [], 'none of it was captured');
}

async function everything(stage: Stage): Promise<void> {
  await stage.http('real', 80, 22);
  await startPeer(stage.host, 'tcp-server', ['--listen', '0.0.0.0:22', '--listen', '[::]:22', '--mode', 'echo']);
  // One session from the neighbour, opened before.
  const inbound = ['10.1.0.2:22', '[fd00:1::2]:22'];
  const before = inbound.map((target) =>
    stage.neighbour.spawn(peerCommand('tcp-client', clientArguments(target, { mode: 'hold', timeoutMs: 60_000 }))),
  );
  for (const client of before) await client.waitFor(/held/);
  await stage.weir({ services: [{ name: 'all', addresses: ['0.0.0.0/0', '::/0'] }] });
  for (const client of before) {
    assert.equal(client.exit, undefined, 'a session from before goes on');
    client.stdin.end();
    assert.equal((await client.waitForExit()).code, 0);
    assert.match(client.stdout, /"eof":1/);
  }
  for (const target of inbound) {
    const after = await runClients(stage.neighbour, target, { mode: 'exchange' });
    assert.deepEqual(after.outcomes, { eof: 1 }, 'and one from after works');
  }
  for (const side of SIDES) assert.equal((await stage.get(`http://${side.capturedHost}/`)).server, 'real');
  const own = await runClients(stage.client, '127.0.0.1:22', { mode: 'exchange' });
  assert.deepEqual(own.outcomes, { eof: 1 }, "the host's own services are reached");
}

/** Everything of the clients behind the host, and nothing of the host: neither what it answers nor what it asks. */
async function everythingForwarded(stage: Stage): Promise<void> {
  await stage.http('real', 80, 22);
  await startPeer(stage.host, 'tcp-server', ['--listen', '0.0.0.0:22', '--listen', '[::]:22', '--mode', 'echo']);
  const own = ['10.2.0.1:22', '[fd00:2::1]:22', '10.1.0.2:22', '[fd00:1::2]:22'];
  const before = own.map((target) =>
    stage.client.spawn(peerCommand('tcp-client', clientArguments(target, { mode: 'hold', timeoutMs: 60_000 }))),
  );
  for (const client of before) await client.waitFor(/held/);
  const weir = await stage.weir({ services: [{ name: 'all', addresses: ['0.0.0.0/0', '::/0'] }] });
  for (const client of before) {
    assert.equal(client.exit, undefined, 'a session from before goes on');
    client.stdin.end();
    assert.equal((await client.waitForExit()).code, 0);
    assert.match(client.stdout, /"eof":1/);
  }
  for (const target of own) {
    const after = await runClients(stage.client, target, { mode: 'exchange' });
    assert.deepEqual(after.outcomes, { eof: 1 }, `the host's own service at ${target} is reached`);
  }
  for (const side of SIDES) {
    const answer = await stage.host.check(['curl', '-sS', '-m', '10', `http://${side.capturedHost}/`]);
    assert.match(answer, /"real"/, 'the host itself reaches the real host');
  }
  assert.deepEqual(await weir.ended(0), [], 'none of it was captured');
  for (const side of SIDES) assert.equal((await stage.get(`http://${side.capturedHost}/`)).server, 'real');
  assert.equal((await weir.ended(2)).length, 2, 'and what passes through is captured');
}

/** What passes through from before is none of Weir's, although all that comes from now on is. */
async function olderPassOn(stage: Stage): Promise<void> {
  const echo = SIDES.flatMap(({ any }) => ['--listen', `${any}:23`]);
  await startPeer(stage.neighbour, 'tcp-server', [...echo, '--mode', 'echo']);
  const before = SIDES.map(({ capturedHost }) =>
    stage.client.spawn(
      peerCommand('tcp-client', clientArguments(`${capturedHost}:23`, { mode: 'hold', timeoutMs: 60_000 })),
    ),
  );
  for (const client of before) await client.waitFor(/held/);
  const weir = await stage.weir({ services: [{ name: 'all', addresses: ['0.0.0.0/0', '::/0'] }] });
  for (const client of before) {
    assert.equal(client.exit, undefined, 'a session from before goes on');
    client.stdin.end();
    assert.equal((await client.waitForExit()).code, 0);
    assert.match(client.stdout, /"eof":1/);
  }
  assert.deepEqual(await weir.ended(0), [], 'none of it was captured');
}

/** Both scopes in one run: the host's own connections, and those that pass through it with their own source. */
async function bothScopes(stage: Stage): Promise<void> {
  await stage.http('upstream', 8080);
  const capture = { scopes: ['output', 'forward'], forward: { interfaces: ['lan0'] } };
  const weir = await stage.weir({ services: webServices(), capture });
  for (const side of SIDES) {
    assert.equal((await stage.get(`http://${side.capturedHost}/`)).server, 'upstream');
    const own = await stage.host.check(['curl', '-sS', '-m', '10', `http://${side.capturedHost}/`]);
    assert.match(own, /"upstream"/);
  }
  const sources = (await weir.ended(4)).map(({ source }) => source.address).toSorted();
  assert.deepEqual(
    sources.filter((source) => SIDES.some((side) => source === stage.source(side))),
    ['10.2.0.2', 'fd00:2::2'],
  );
}

/** Packets that come in by another interface are none of Weir's business. */
async function otherInterface(stage: Stage): Promise<void> {
  await stage.http('real', 80);
  await stage.http('upstream', 8080);
  const capture = { scopes: ['forward'], forward: { interfaces: ['lan1'] } };
  const weir = await stage.weir({ services: webServices(), capture });
  for (const side of SIDES) assert.equal((await stage.get(`http://${side.capturedHost}/`)).server, 'real');
  assert.deepEqual(await weir.ended(0), []);
}

/** Nothing is passed on: neither `ip_forward` nor the FORWARD chain is needed by what is captured. */
async function closedGateway(stage: Stage): Promise<void> {
  await stage.http('upstream', 8080);
  const chain = 'chain f { type filter hook forward priority 0; policy drop; }';
  await stage.host.check(['nft', `table inet closed { ${chain}; }`]);
  const weir = await stage.weir({ services: webServices() });
  for (const side of SIDES) assert.equal((await stage.get(`http://${side.capturedHost}/`)).server, 'upstream');
  assert.equal((await weir.ended(2)).length, 2);
}

/** Those that hold wherever the clients are. */
export const COMMON_STEERING_CASES: readonly StagedCase[] = [
  onStage('a captured connection keeps its original destination and its source, where there is no route', original),
  onStage('a captured connection keeps its original destination and its source, where there is a route', original, {
    routed: true,
  }),
  onStage("Weir's own dial to a captured address arrives at the real host", ownDial, { routed: true }),
  onStage('exclusions reach the real host', exclusions, { routed: true }),
  onStage('the longest prefix wins, then the narrower port range', precedence),
  onStage('a service with sources takes only flows from them', sources, { routed: true, holdsFor: 'kept source' }),
  onStage('the neighbour port, UDP and ICMP of a captured prefix reach the real host', neighbours, { routed: true }),
];

export const STEERING_CASES: readonly StagedCase[] = [
  ...COMMON_STEERING_CASES,
  onStage('a connection with the bypass mark is not captured', bypassMark, { routed: true }),
  onStage('capturing everything leaves sessions from outside, own services and own dials alone', everything, {
    routed: true,
  }),
];

/** For mechanisms that do not keep the source of local flows. */
export const OWN_SOURCE_CASES: readonly StagedCase[] = [
  onStage("local flows come from Weir's own source, and sockets with one of theirs reach the real host", ownSource, {
    routed: true,
    holdsFor: 'own source',
  }),
];

export const FORWARD_STEERING_CASES: readonly StagedCase[] = forwarded([
  ...COMMON_STEERING_CASES,
  onStage('what passes through from before goes on when everything is captured', olderPassOn, {
    routed: true,
    olderPassOn: true,
  }),
  onStage('capturing everything leaves sessions of the host and the host itself alone', everythingForwarded, {
    routed: true,
  }),
  onStage("the host's own connections are captured at once", bothScopes),
  onStage('packets of other interfaces reach the real host', otherInterface, { routed: true }),
  onStage('where the host passes nothing on, and drops in FORWARD', closedGateway, {
    forwarding: false,
    closedGateway: true,
  }),
]);
