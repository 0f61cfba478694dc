/**
 * `npm start`: Weir's main job on hosts of its own, from an unmodified client to the proof that everything is back as it
 * was. `npm start -- --keep` stays up until Ctrl-C and says how to try it by hand.
 *
 * Ends with exit code 0 when all of it worked, 1 when something did not, 7 when private hosts cannot be made here.
 */
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { WeirError } from '@weir/core';
import { missingFor, reexecInUserNamespace, TestNetwork, WeirProcess, type TestHost } from '@weir/core/testing';
import { everyMechanism } from './start-mechanisms.ts';
import { packedWeir } from './packed-weir.ts';
import { CONFIGURATION, DIRECT, REQUESTS, setScene, type Scene } from './start-scene.ts';

const GIB = 2 ** 30;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function heading(text: string): void {
  say(`\n── ${text} ${'─'.repeat(Math.max(0, 76 - text.length))}`);
}

function indent(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `   ${line}`)
    .join('\n');
}

/** Gbit/s of one download of 1 GiB. */
async function download(client: TestHost, base: string): Promise<number> {
  const url = `${base}/bytes?n=${GIB}`;
  const format = '%{size_download} %{time_total}';
  const output = await client.check(['curl', '-sS', '-m', '300', '-o', '/dev/null', '-w', format, url], {
    timeoutMs: 310_000,
  });
  const [size = 0, seconds = 1] = output.split(' ').map(Number);
  if (size !== GIB) throw new Error(`${url} gave ${size} bytes instead of ${GIB}`);
  return (size * 8) / seconds / 1e9;
}

async function show(scene: Scene, weir: WeirProcess): Promise<void> {
  const { client } = scene;
  heading('real requests from an unmodified client');
  for (const url of REQUESTS) {
    say(` $ curl ${url}`);
    say(indent(await client.check(['curl', '-sS', '-m', '10', url])));
  }

  heading('what Weir captured ($ weir flows --recent)');
  await weir.ended(REQUESTS.length);
  const flows = await weir.command('flows', '--recent');
  say(indent(flows.stdout));

  heading('throughput: 1 GiB by curl');
  const captured = await download(client, 'http://shop.internal');
  const direct = await download(client, DIRECT);
  const [bulk] = (await weir.ended(REQUESTS.length + 1)).slice(-1);
  say(`   through Weir  ${captured.toFixed(1)} Gbit/s  (relay: ${bulk?.relay}, ${bulk?.bytesDown} bytes down)`);
  say(`   without it    ${direct.toFixed(1)} Gbit/s  (the same server, asked at ${DIRECT})`);
}

/** @returns whether the host is as it was. */
function prove(before: string, after: string): boolean {
  const [first, second] = [before, after].map((state) => createHash('sha256').update(state).digest('hex'));
  heading('the host, before and after');
  say('   nft ruleset, iptables, ip6tables, rules, routes, links, addresses, sysctls, resolv.conf');
  say(`   before  ${before.length} bytes, sha256 ${first}`);
  say(`   after   ${after.length} bytes, sha256 ${second}`);
  say(first === second ? '   identical' : '   NOT identical');
  return first === second;
}

function byHand(scene: Scene, weir: readonly string[], nested: boolean): string {
  const enter = [
    'nsenter',
    '-t',
    String(scene.client.pid),
    ...(nested ? ['-U', '--preserve-credentials'] : []),
    '-n',
    '-m',
  ];
  return [
    'In another terminal of the same user, step into the client host:',
    `  ${enter.join(' ')}`,
    'and try, for instance:',
    '  curl http://shop.internal/    curl http://203.0.113.99/    curl "http://[2001:db8:1::5]/"',
    '  cat /etc/resolv.conf; nft list ruleset; ip rule; ip route show table all',
    `  alias weir="${weir.join(' ')}"`,
    '  weir status;  weir flows --recent;  weir flows --follow',
    `  edit ${scene.file}, then: weir reload`,
    'Ctrl-C here ends it and shows that the client host is as it was.',
  ].join('\n');
}

async function demonstrate(net: TestNetwork, keep: boolean, nested: boolean, stop: Promise<void>): Promise<number> {
  const command = packedWeir();
  const scene = await setScene(net);
  const before = await scene.client.state();

  heading('two private hosts');
  say('   client  10.1.0.2, fd00:1::2   no default route, no name server that answers');
  say('   server  10.1.0.1, fd00:1::1   an HTTP server on port 8080');
  heading(`the configuration (${scene.file} on the client)`);
  say(indent(CONFIGURATION));
  heading('$ weir run weir.yaml');
  await using weir = await WeirProcess.start(scene.client, {
    command,
    file: scene.file,
    env: { WEIR_LOG_FORMAT: 'pretty' },
  });
  say(indent(weir.process.stdout + weir.process.stderr));

  await show(scene, weir);
  if (keep) {
    heading('it stays up');
    say(indent(byHand(scene, command, nested)));
    await stop;
  }
  const exit = await weir.stop();
  const same = prove(before, await scene.client.state());
  if (exit.code !== 0) say(`weir ended with ${exit.code ?? exit.signal}: ${weir.process.stderr}`);
  if (keep) return same && exit.code === 0 ? 0 : 1;
  heading('the same through every mechanism of this machine');
  const { lines, ok } = await everyMechanism(scene, command);
  say(indent(lines.join('\n')));
  return same && ok && exit.code === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
  const nested = await reexecInUserNamespace();
  if (nested !== undefined) return nested;
  for (const group of ['namespaces', 'nft', 'curl']) {
    const missing = missingFor(group);
    if (missing === undefined) continue;
    process.stderr.write(`npm start cannot show anything here: ${missing}\n`);
    return 7;
  }

  let interrupted = false;
  const net = await TestNetwork.create();
  const stop = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        // In the middle of things there is nothing to finish: the private hosts go, and what runs in them.
        if (!values.keep || interrupted) void net[Symbol.asyncDispose]();
        interrupted = true;
        resolve();
      });
    }
  });
  try {
    return await demonstrate(net, values.keep, missingFor('root') !== undefined, stop);
  } catch (error) {
    if (!interrupted) throw error;
    say('\ninterrupted; the private hosts are gone, and nothing else was changed');
    return 130;
  } finally {
    await net[Symbol.asyncDispose]();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  const text =
    error instanceof WeirError ? `${error.problem}\n${error.remedy}` : error instanceof Error ? error.message : error;
  process.stderr.write(`${String(text)}\n`);
  process.exitCode = error instanceof WeirError && error.code === 'WEIR_UNSUPPORTED' ? 7 : 1;
}
