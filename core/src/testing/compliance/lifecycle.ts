/** Starting, changing, stopping and dying: living flows go on, and the host is put back as it was. */
import { strict as assert } from 'node:assert';
import { countByKind, descriptorsOf } from '../descriptors.ts';
import { clientArguments, peerCommand, runClients, startPeer } from '../peers.ts';
import type { HostProcess } from '../host-process.ts';
import { forwarded, onStage, type StagedCase } from './case.ts';
import { SIDES, type Stage } from './stage.ts';
import { webServices } from './steering.ts';

/** An echo server behind both captured prefixes. */
async function echo(stage: Stage): Promise<void> {
  const listen = SIDES.flatMap(({ any }) => ['--listen', `${any}:8080`]);
  await startPeer(stage.neighbour, 'tcp-server', [...listen, '--mode', 'echo']);
}

/** `count` connections to each target that stand until {@link release}. */
async function hold(
  stage: Stage,
  count: number,
  targets: readonly string[] = stage.targets(),
): Promise<readonly HostProcess[]> {
  const clients = targets.map((target) => {
    const args = clientArguments(target, { mode: 'hold', count, timeoutMs: 120_000 });
    return stage.client.spawn(peerCommand('tcp-client', args));
  });
  for (const client of clients) await client.waitFor(new RegExp(`held ${count}\n`));
  return clients;
}

/** Lets held connections end. @throws AssertionError when not all of them lived to their own end. */
async function release(clients: readonly HostProcess[], count: number): Promise<void> {
  for (const client of clients) {
    assert.equal(client.exit, undefined, `held connections have ended early: ${client.stdout}`);
    client.stdin.end();
    await client.waitForExit();
    assert.match(client.stdout, new RegExp(`"outcomes":{"eof":${count}}`));
  }
}

async function untouched(stage: Stage): Promise<void> {
  await echo(stage);
  const foreign = [
    'nft add table inet foreign',
    'nft add chain inet foreign c "{ type filter hook output priority 5; }"',
    'nft add rule inet foreign c tcp dport 9 counter accept',
    'iptables -t mangle -A OUTPUT -p tcp --dport 9 -j ACCEPT',
    'ip6tables -t mangle -A OUTPUT -p tcp --dport 9 -j ACCEPT',
    'ip rule add pref 9400 fwmark 0x7 lookup 777',
    'ip -6 rule add pref 9400 fwmark 0x7 lookup 777',
    'ip route add 198.51.100.0/24 via 10.1.0.1 table 777',
    'ip -6 route add 2001:db8:99::/48 via fd00:1::1 table 777',
    'ip link add other0 type veth peer name other1',
  ];
  await stage.host.check(['sh', '-ec', foreign.join('\n')]);
  const before = await stage.host.state();
  const weir = await stage.weir({ services: webServices() });
  const during = await stage.host.state();
  assert.notEqual(during, before, 'capturing changes something');
  const lines = new Set(during.split('\n'));
  const gone = before.split('\n').filter((line) => line !== '' && !lines.has(line));
  assert.deepEqual(gone, [], 'what was there before is still there while Weir runs');
  for (const target of stage.targets()) {
    assert.deepEqual((await runClients(stage.client, target, { mode: 'exchange' })).outcomes, { eof: 1 });
  }
  assert.equal((await weir.stop()).code, 0);
  assert.equal(await stage.host.state(), before);
  const again = await weir.command('cleanup');
  assert.equal(again.code, 0, again.stderr);
  assert.equal(await stage.host.state(), before);
  assert.deepEqual(stage.host.processes(), [], 'no process is left');
}

async function updates(stage: Stage): Promise<void> {
  await echo(stage);
  await stage.http('real', 81, 82);
  await stage.http('upstream', 8081);
  const extra = (port: number) =>
    SIDES.map((side) => ({
      name: `extra${port}-${side.family}`,
      addresses: [side.prefix],
      ports: [port],
      dialer: { type: 'direct', to: `${side.upstreamHost}:8081` },
    }));
  const timeouts = { drain: '1s' };
  const weir = await stage.weir({ services: [...webServices(), ...extra(81)], timeouts });
  const held = await hold(stage, 5);
  await weir.reload(stage.configuration({ services: [...webServices(), ...extra(82)], timeouts }));
  for (const side of SIDES) {
    assert.equal(
      (await stage.get(`http://${side.capturedHost}:82/`)).server,
      'upstream',
      'added services are captured',
    );
  }
  await weir.reload(stage.configuration({ services: extra(82), timeouts }));
  // Removed services are retiring while their flows live, up to the grace; then they are not steered at all.
  const deadline = Date.now() + 15_000;
  for (const side of SIDES) {
    while ((await stage.get(`http://${side.capturedHost}:81/`)).server !== 'real') {
      assert.ok(Date.now() < deadline, 'a removed service is not captured any more');
    }
  }
  await release(held, 5);
}

async function drift(stage: Stage): Promise<void> {
  await echo(stage);
  const before = await stage.host.state();
  const weir = await stage.weir({ services: webServices() });
  // Every mechanism that steers the host's own traffic has rules of Weir's protocol id.
  await stage.host.check(['sh', '-ec', 'ip -4 rule flush protocol 87; ip -6 rule flush protocol 87']);
  const until = Date.now() + 15_000;
  for (const target of stage.targets()) {
    for (;;) {
      const { outcomes } = await runClients(stage.client, target, { mode: 'exchange', timeoutMs: 1000 });
      if (outcomes['eof'] === 1) break;
      assert.ok(Date.now() < until, `${target} is not captured again: ${JSON.stringify(outcomes)}`);
    }
  }
  assert.ok((await weir.admin.status()).drift.repaired > 0, 'what was mended is counted');
  assert.equal((await weir.stop()).code, 0);
  assert.equal(await stage.host.state(), before);
}

async function drains(stage: Stage): Promise<void> {
  await echo(stage);
  await stage.http('real', 80);
  const weir = await stage.weir({ services: webServices(), timeouts: { drain: '20s' } });
  const held = await hold(stage, 5);
  const drained = weir.admin.drain();
  const deadline = Date.now() + 10_000;
  for (const side of SIDES) {
    const url = `http://${side.capturedHost}/`;
    for (;;) {
      const result = await stage.client.run(['curl', '-sS', '-m', '2', url]);
      if (result.stdout.includes('"real"')) break;
      assert.ok(
        Date.now() < deadline,
        `a new connection to ${url} is still captured: ${result.stdout}${result.stderr}`,
      );
    }
  }
  await release(held, 5);
  assert.deepEqual(await drained, { remaining: 0 });
}

async function deadline(stage: Stage): Promise<void> {
  await echo(stage);
  const before = await stage.host.state();
  const weir = await stage.weir({ services: webServices(), timeouts: { drain: '1s' } });
  const held = await hold(stage, 3);
  assert.equal((await weir.stop('SIGTERM', 15_000)).code, 0);
  for (const client of held) {
    client.stdin.end();
    await client.waitForExit();
    assert.match(client.stdout, /"ECONNRESET":3/, 'what outlives the deadline is reset, not left hanging');
  }
  assert.equal(await stage.host.state(), before);
}

async function secondSignal(stage: Stage): Promise<void> {
  await echo(stage);
  const before = await stage.host.state();
  const weir = await stage.weir({ services: webServices(), timeouts: { drain: '10m' } });
  const held = await hold(stage, 3);
  weir.process.kill('SIGTERM');
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(weir.process.exit, undefined, 'the first signal drains');
  assert.equal((await weir.stop('SIGINT', 15_000)).code, 130);
  await Promise.all(held.map((client) => client[Symbol.asyncDispose]()));
  assert.equal(await stage.host.state(), before);
}

async function owners(stage: Stage): Promise<void> {
  await echo(stage);
  const before = await stage.host.state();
  const [four, six] = webServices();
  const first = await stage.weir({ services: [four], owner: 'first', timeouts: { drain: '1s' } });
  const second = await stage.weir({ services: [six], owner: 'second', timeouts: { drain: '1s' } });
  const held = await hold(stage, 3, stage.targets().slice(1));
  for (const target of stage.targets()) {
    assert.deepEqual((await runClients(stage.client, target, { mode: 'exchange' })).outcomes, { eof: 1 });
  }
  assert.equal((await first.ended(1)).length, 1, 'each owner has its own flow');
  assert.equal((await second.ended(1)).length, 1, 'each owner has its own flow');
  assert.equal((await first.stop()).code, 0);
  assert.deepEqual((await runClients(stage.client, stage.targets()[1] ?? '', { mode: 'exchange' })).outcomes, {
    eof: 1,
  });
  await release(held, 3);
  assert.equal((await second.stop()).code, 0);
  assert.equal(await stage.host.state(), before);
}

async function descriptors(stage: Stage): Promise<void> {
  await echo(stage);
  const weir = await stage.weir({ services: webServices() });
  // Pools fill up once; what is compared is a busy instance with a busier one.
  const load = async (flows: number) => {
    for (const target of stage.targets()) {
      const report = await runClients(stage.client, target, {
        mode: 'exchange',
        bytes: 200_000,
        count: flows,
        parallel: 20,
      });
      assert.deepEqual(report.outcomes, { eof: flows });
    }
    await runClients(stage.client, stage.targets()[0] ?? '', { mode: 'reset', count: 20, parallel: 5 });
  };
  await load(100);
  const settled = async () => {
    const until = Date.now() + 10_000;
    for (;;) {
      const { workers } = await weir.admin.status();
      if (workers.every(({ activeFlows }) => activeFlows === 0)) return countByKind(descriptorsOf(weir.process.pid));
      assert.ok(Date.now() < until, 'flows do not end');
    }
  };
  const before = await settled();
  await load(300);
  let after = await settled();
  const until = Date.now() + 5000;
  while ((after['socket'] ?? 0) > (before['socket'] ?? 0) && Date.now() < until) after = await settled();
  const told = JSON.stringify({ before, after });
  assert.ok((after['socket'] ?? 0) <= (before['socket'] ?? 0), `sockets are left open: ${told}`);
  const pipes = (after['pipe'] ?? 0) - (before['pipe'] ?? 0);
  assert.ok(pipes <= 80, `the pipe pool is bounded by what runs at once, and has grown by ${pipes}: ${told}`);
}

/** Those that hold for mechanisms without capture too. */
export const EXPLICIT_LIFECYCLE_CASES: readonly StagedCase[] = [
  onStage('a stop resets what outlives the drain deadline', deadline),
  onStage('a second signal stops now, and the host is as before', secondSignal),
  onStage('two owners run side by side, and stopping one leaves the flows of the other', owners),
  onStage('no descriptor is left when flows have ended', descriptors),
];

const STEERED_LIFECYCLE_CASES: readonly StagedCase[] = [
  onStage('foreign rules, routes and devices are untouched, and everything is as before after a stop', untouched),
  onStage('an update captures what came, leaves what went, and living flows go on', updates, {
    routed: true,
    forwardedNotByRoutes: 'nothing tells the living flows of a removed prefix from others: they are cut',
  }),
  onStage('rules that somebody takes away come back, and that is counted', drift),
  onStage('a drain takes no new flow and lets the living ones end', drains, { routed: true }),
];

export const LIFECYCLE_CASES: readonly StagedCase[] = [...STEERED_LIFECYCLE_CASES, ...EXPLICIT_LIFECYCLE_CASES];

export const FORWARD_LIFECYCLE_CASES: readonly StagedCase[] = forwarded([
  ...STEERED_LIFECYCLE_CASES,
  onStage('two owners run side by side, and stopping one leaves the flows of the other', owners),
]);
