/** UDP clients and servers of the compliance cases: who answers, from where, and sockets that stay. */
import { strict as assert } from 'node:assert';
import type { HostProcess } from '../host-process.ts';
import { datagramArguments, peerCommand, runDatagrams, type DatagramOptions, type DatagramReport } from '../peers.ts';
import { SIDES, type Side, type Stage } from './stage.ts';

/** What a UDP server in `seen` mode answers. */
interface SeenDatagram {
  readonly server: string;
  readonly source: { readonly address: string; readonly port: number };
  readonly local: number;
}

/** Both prefixes, UDP port 7000, carried to port 9000 of the neighbour. */
export function udpServices(sides: readonly Side[] = SIDES): readonly object[] {
  return sides.map((side) => ({
    name: `udp${side.family}`,
    addresses: [side.prefix],
    ports: [7000],
    protocols: ['udp'],
    dialer: { type: 'direct', to: `${side.upstreamHost}:9000` },
  }));
}

/** The neighbour's own addresses, where upstreams listen. */
export function upstreamEndpoints(port = 9000): readonly string[] {
  return SIDES.map(({ upstreamHost }) => `${upstreamHost}:${port}`);
}

/** The real host's addresses; bound one by one, so that it answers from the one that was written to. */
export function realEndpoints(...ports: readonly number[]): readonly string[] {
  return SIDES.flatMap((side) => [side.capturedHost, side.otherHost]).flatMap((host) =>
    ports.map((port) => `${host}:${port}`),
  );
}

/** What each client was answered, parsed; asserts that every answer came from where the client wrote to. */
export async function seen(
  stage: Stage,
  targets: readonly string[],
  options: DatagramOptions = {},
): Promise<ReadonlyArray<readonly SeenDatagram[]>> {
  const report = await runDatagrams(stage.client, targets, { ...options, mode: 'seen' });
  return parsed(report, targets);
}

function parsed(report: DatagramReport, targets: readonly string[]): ReadonlyArray<readonly SeenDatagram[]> {
  const { wrong, lost, errors } = report;
  assert.deepEqual({ wrong, lost, errors }, { wrong: 0, lost: 0, errors: {} }, `${targets.join(', ')} answers`);
  return report.answers.map((answers) => answers.map((text) => JSON.parse(text) as SeenDatagram));
}

/** Who answered a single datagram of a new client. */
export async function server(stage: Stage, target: string, options: DatagramOptions = {}): Promise<string> {
  return (await seen(stage, [target], options))[0]?.[0]?.server ?? '';
}

/** Clients whose sockets stay; each call of `again` writes from all of them once more. */
export async function heldClients(
  stage: Stage,
  targets: readonly string[],
  count: number,
  options: DatagramOptions = {},
): Promise<{ again(): Promise<ReadonlyArray<readonly SeenDatagram[]>>; readonly process: HostProcess }> {
  const process = stage.client.spawn(
    peerCommand('udp-client', datagramArguments(targets, { ...options, mode: 'hold', count })),
  );
  let rounds = 0;
  const report = async (): Promise<ReadonlyArray<readonly SeenDatagram[]>> => {
    rounds++;
    await process.waitFor(new RegExp(`^(?:.*\n){${rounds}}`), 30_000);
    const line = process.stdout.split('\n')[rounds - 1] ?? '';
    return parsed(JSON.parse(line) as DatagramReport, targets);
  };
  await report();
  return {
    process,
    async again() {
      process.stdin.write('\n');
      return report();
    },
  };
}
