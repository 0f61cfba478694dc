/** What arrives is what was sent: every byte, every end, every reset. */
import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { clientArguments, peerCommand, runClients, startPeer } from '../peers.ts';
import { pattern } from '../peers/pattern.ts';
import type { HostProcess } from '../host-process.ts';
import { forwarded, onStage, type StagedCase } from './case.ts';
import { SIDES, type Stage } from './stage.ts';
import { webServices } from './steering.ts';

const MIB = 2 ** 20;

/** A server of one habit behind both captured prefixes. */
function upstream(stage: Stage, mode: string, bytes = 1024): Promise<HostProcess> {
  const listen = SIDES.flatMap(({ any }) => ['--listen', `${any}:8080`]);
  return startPeer(stage.neighbour, 'tcp-server', [...listen, '--mode', mode, '--bytes', String(bytes)]);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function countLines(process: HostProcess, line: string): number {
  return process.stdout.split('\n').filter((each) => each === line).length;
}

async function unchanged(stage: Stage): Promise<void> {
  await upstream(stage, 'echo');
  const weir = await stage.weir({ services: webServices() });
  const expected = sha256(pattern(10 * MIB));
  for (const target of stage.targets()) {
    const report = await runClients(stage.client, target, { mode: 'exchange', bytes: 10 * MIB, timeoutMs: 30_000 });
    assert.deepEqual(report.outcomes, { eof: 1 });
    assert.equal(report.read, 10 * MIB);
    assert.equal(report.sha256, expected, `10 MiB to ${target} and back`);
  }
  for (const record of await weir.ended(2)) {
    assert.equal(record.bytesUp, 10 * MIB);
    assert.equal(record.bytesDown, 10 * MIB);
  }
}

async function trickle(stage: Stage): Promise<void> {
  await upstream(stage, 'echo');
  await stage.weir({ services: webServices() });
  for (const target of stage.targets()) {
    const report = await runClients(stage.client, target, { mode: 'trickle', bytes: 2000 });
    assert.deepEqual(report.outcomes, { eof: 1 });
    assert.equal(report.sha256, sha256(pattern(2000)));
  }
}

async function bursts(stage: Stage): Promise<void> {
  const server = await upstream(stage, 'source', 3000);
  await stage.weir({ services: webServices() });
  for (const target of stage.targets()) {
    const report = await runClients(stage.client, target, { mode: 'burst', bytes: 700, count: 500, parallel: 50 });
    assert.deepEqual(report.outcomes, { eof: 500 }, 'nothing hangs, nothing is reset');
    assert.equal(report.read, 500 * 3000, 'everything from the upstream has arrived');
    assert.equal(report.sha256, sha256(pattern(3000)));
  }
  // The server answers before it has read: its clients may be done first.
  await server.waitForLines('end 700', 1000);
  assert.equal(countLines(server, 'end 700'), 1000, 'everything from the clients has arrived');
}

async function burstsBeforeTheDial(stage: Stage): Promise<void> {
  const server = await upstream(stage, 'source', 3000);
  await stage.weir({ services: webServices() });
  // The upstream is deaf while the clients burst, and hears the repeated SYN a second later.
  const rules = 'table inet deaf { chain in { type filter hook input priority 0; tcp dport 8080 drop; }; }';
  await stage.neighbour.check(['nft', rules]);
  const clients = stage
    .targets()
    .map((target) => runClients(stage.client, target, { mode: 'burst', bytes: 700, count: 100, parallel: 100 }));
  await new Promise((resolve) => setTimeout(resolve, 700));
  await stage.neighbour.check(['nft', 'delete table inet deaf']);
  for (const report of await Promise.all(clients)) {
    assert.deepEqual(report.outcomes, { eof: 100 });
    assert.equal(report.read, 100 * 3000);
  }
  await server.waitForLines('end 700', 200);
  assert.equal(countLines(server, 'end 700'), 200);
}

async function clientEndsFirst(stage: Stage): Promise<void> {
  await upstream(stage, 'sink');
  await stage.weir({ services: webServices() });
  for (const target of stage.targets()) {
    const report = await runClients(stage.client, target, { mode: 'burst', bytes: 100_000, count: 20, parallel: 5 });
    assert.deepEqual(report.outcomes, { eof: 20 });
    const answer = `${JSON.stringify({ length: 100_000, sha256: sha256(pattern(100_000)) })}\n`;
    assert.equal(report.sha256, sha256(Buffer.from(answer)), 'the upstream saw the end and then answered');
  }
}

async function upstreamEndsFirst(stage: Stage): Promise<void> {
  const server = await upstream(stage, 'source', 5000);
  await stage.weir({ services: webServices() });
  for (const target of stage.targets()) {
    const report = await runClients(stage.client, target, { mode: 'late', bytes: 100_000, count: 20, parallel: 5 });
    assert.deepEqual(report.outcomes, { eof: 20 });
    assert.equal(report.sha256, sha256(pattern(5000)));
  }
  await server.waitForLines('end 100000', 40);
}

async function upstreamResets(stage: Stage): Promise<void> {
  await upstream(stage, 'reset-late');
  const weir = await stage.weir({ services: webServices() });
  for (const target of stage.targets()) {
    const report = await runClients(stage.client, target, { mode: 'exchange', count: 20, parallel: 5 });
    assert.deepEqual(report.outcomes, { ECONNRESET: 20 });
  }
  for (const { outcome } of await weir.ended(40)) assert.equal(outcome, 'upstream-reset');
}

async function clientResets(stage: Stage): Promise<void> {
  const server = await upstream(stage, 'echo');
  const weir = await stage.weir({ services: webServices() });
  const clients = stage.targets().map((target) => {
    const args = clientArguments(target, { mode: 'hold', count: 5, timeoutMs: 60_000 });
    return stage.client.spawn(peerCommand('tcp-client', args));
  });
  for (const client of clients) await client.waitFor(/held 5/);
  // A client that is killed closes with FIN; SO_LINGER 0 is what resets.
  for (const target of stage.targets()) await runClients(stage.client, target, { mode: 'reset', bytes: 10, count: 10 });
  await server.waitForLines('error ECONNRESET', 20);
  assert.equal(countLines(server, 'error ECONNRESET'), 20, 'each reset has reached the upstream, and no other flow');
  for (const client of clients) {
    client.stdin.end();
    await client.waitForExit();
    assert.match(client.stdout, /"eof":5/, 'the others went on');
  }
  const outcomes = (await weir.ended(30)).map(({ outcome }) => outcome);
  assert.equal(outcomes.filter((outcome) => outcome === 'client-reset').length, 20);
}

async function refused(stage: Stage): Promise<void> {
  const weir = await stage.weir({ services: webServices() });
  for (const target of stage.targets()) {
    const report = await runClients(stage.client, target, { mode: 'exchange', count: 20, parallel: 5 });
    const resets = (report.outcomes['ECONNRESET'] ?? 0) + (report.outcomes['ECONNREFUSED'] ?? 0);
    assert.equal(
      resets,
      20,
      `a refused dial is a reset and never an empty success: ${JSON.stringify(report.outcomes)}`,
    );
  }
  for (const { outcome } of await weir.ended(40)) assert.equal(outcome, 'dial-refused');
}

async function silent(stage: Stage): Promise<void> {
  const rules = 'table inet deaf { chain in { type filter hook input priority 0; tcp dport 8080 drop; }; }';
  await stage.neighbour.check(['nft', rules]);
  const weir = await stage.weir({ services: webServices(), timeouts: { connect: '1s' } });
  for (const target of stage.targets()) {
    const report = await runClients(stage.client, target, { mode: 'exchange', count: 20, parallel: 20 });
    assert.deepEqual(report.outcomes, { ECONNRESET: 20 });
    assert.ok(report.ms >= 800 && report.ms < 8000, `reset after the connect timeout, not after ${report.ms} ms`);
  }
  for (const { outcome } of await weir.ended(40)) assert.equal(outcome, 'dial-timeout');
}

async function idle(stage: Stage): Promise<void> {
  await upstream(stage, 'silent');
  const weir = await stage.weir({ services: webServices(), timeouts: { idle: '1s' } });
  for (const target of stage.targets()) {
    const report = await runClients(stage.client, target, { mode: 'listen', count: 5, parallel: 5, timeoutMs: 8000 });
    assert.deepEqual(report.outcomes, { ECONNRESET: 5 });
  }
  for (const { outcome } of await weir.ended(10)) assert.equal(outcome, 'idle-timeout');
}

/** What a path through the host could spoil, and a path inside it could not. */
const COMMON_CARRIAGE_CASES: readonly StagedCase[] = [
  onStage('10 MiB arrive unchanged, both ways', unchanged),
  onStage('data and FIN in one burst, both sides, 1,000 times: nothing lost, nothing hangs', bursts),
  onStage('half-close by the client: the upstream answers after the end', clientEndsFirst),
  onStage('half-close by the upstream: the client goes on sending', upstreamEndsFirst),
  onStage('a reset by the upstream reaches the client', upstreamResets),
  onStage('a reset by the client reaches the upstream, and no other flow', clientResets),
  onStage('a refused upstream is a reset and never an empty success', refused),
];

export const CARRIAGE_CASES: readonly StagedCase[] = [
  ...COMMON_CARRIAGE_CASES,
  onStage('2,000 one-byte writes arrive unchanged', trickle),
  onStage('data and FIN in one burst before the upstream dial has completed', burstsBeforeTheDial),
  onStage('a silent upstream is a reset after the connect timeout', silent),
  onStage('an idle flow ends after the idle timeout', idle),
];

export const FORWARD_CARRIAGE_CASES: readonly StagedCase[] = forwarded(COMMON_CARRIAGE_CASES);
