/** The last part of `npm start`: the same configuration through every mechanism that this machine can use. */
import { WeirProcess, type HostProcess } from '@weir/core/testing';
import { REQUESTS, type Scene } from './start-scene.ts';

/** Highest priority first, as `auto` tries them. */
const TRANSPARENT = ['nft', 'tproxy-iptables', 'ebpf-sklookup', 'tun'] as const;
/** Where `weir proxy` listens for the service; it captures nothing, so a client has to be told. */
const LISTENER = 'shop:8000';

interface Row {
  readonly mechanism: string;
  readonly requests: string;
  readonly ready: string;
  readonly host: string;
}

/** The line of an error that says what is wrong. */
function reason(process: HostProcess): string {
  const line = process.stderr.split('\n').find((text) => text.startsWith('weir: ')) ?? process.describe();
  return line.replace(/^weir: /, '').slice(0, 110);
}

async function answered(scene: Scene, urls: readonly string[]): Promise<number> {
  let count = 0;
  for (const url of urls) {
    const { stdout } = await scene.client.run(['curl', '-sS', '-m', '5', url]);
    if (stdout.includes('the real server')) count++;
  }
  return count;
}

async function through(scene: Scene, command: readonly string[], mechanism: string, before: string): Promise<Row> {
  const proxy = mechanism === 'proxy';
  const begun = performance.now();
  await using weir = proxy
    ? WeirProcess.launch(scene.client, { command, verb: ['proxy', LISTENER], file: scene.file })
    : WeirProcess.launch(scene.client, { command, file: scene.file, args: ['--interceptor', mechanism] });
  if (!(await weir.running())) return { mechanism, requests: reason(weir.process), ready: '-', host: '-' };
  const ready = `${Math.round(performance.now() - begun)} ms`;
  const urls = proxy ? ['http://127.0.0.1:8000/'] : REQUESTS;
  const count = await answered(scene, urls);
  await weir.stop();
  const host = (await scene.client.state()) === before ? 'as before' : 'NOT as before';
  return { mechanism, requests: `${count} of ${urls.length} answered`, ready, host };
}

/** @returns lines of a table, and whether all that could run did what it should. */
export async function everyMechanism(
  scene: Scene,
  command: readonly string[],
): Promise<{ readonly lines: readonly string[]; readonly ok: boolean }> {
  const before = await scene.client.state();
  const rows: Row[] = [{ mechanism: 'MECHANISM', requests: 'REQUESTS', ready: 'READY', host: 'HOST' }];
  for (const mechanism of [...TRANSPARENT, 'proxy']) rows.push(await through(scene, command, mechanism, before));
  const lines = rows.map(({ mechanism, requests, ready, host }) =>
    ready === '-'
      ? `${mechanism.padEnd(17)}not here: ${requests}`
      : `${mechanism.padEnd(17)}${requests.padEnd(19)}${ready.padEnd(10)}${host}`,
  );
  const wrong = rows.slice(1).some(({ requests, ready, host }) => {
    const [count, , total] = requests.split(' ');
    return ready !== '-' && (count !== total || host !== 'as before');
  });
  return { lines, ok: !wrong };
}
