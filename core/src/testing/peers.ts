/** Starts the peers of `peers/` inside private hosts: ordinary servers and clients that know nothing of Weir. */
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HostProcess } from './host-process.ts';
import type { RunOptions, TestHost } from './test-host.ts';

export type PeerName = 'http-server' | 'tcp-server' | 'tcp-client' | 'udp-peer' | 'udp-server' | 'udp-client';

/** The command line of a peer; from the sources as from a build, and as {@link weirCommand} says. */
export function peerCommand(name: PeerName, args: readonly string[]): readonly string[] {
  const here = new URL(import.meta.url);
  const built = extname(here.pathname) === '.ts' && process.env['WEIR_TEST_PROGRAM'] === 'built';
  const file = built
    ? new URL(`../../dist/testing/peers/${name}.js`, here)
    : new URL(`./peers/${name}${extname(here.pathname)}`, here);
  return [process.execPath, fileURLToPath(file), ...args];
}

/** Starts a serving peer and resolves when all its `--listen` sockets are open. */
export async function startPeer(host: TestHost, name: PeerName, args: readonly string[]): Promise<HostProcess> {
  const sockets = Math.max(1, args.filter((argument) => argument === '--listen').length);
  const peer = host.spawn(peerCommand(name, args));
  await peer.waitForLines('listening', sockets);
  return peer;
}

/** What `tcp-client` reports. */
export interface ClientReport {
  /** How many connections ended in which way: `eof`, `closed`, `timeout`, `kept`, or an error code. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Bytes read by all. */
  readonly read: number;
  /** Of what the first connection read, hex. */
  readonly sha256: string;
  readonly ms: number;
}

export interface ClientOptions extends RunOptions {
  readonly mode?: string;
  readonly count?: number;
  readonly parallel?: number;
  readonly bytes?: number;
  /** Of each connection, in milliseconds. */
  readonly timeoutMs?: number;
  readonly bind?: string;
  /** SO_MARK of each connection. */
  readonly mark?: number;
}

export function clientArguments(target: string, options: ClientOptions = {}): readonly string[] {
  const flags: Readonly<Record<string, string | number | undefined>> = {
    connect: target,
    mode: options.mode,
    count: options.count,
    parallel: options.parallel,
    bytes: options.bytes,
    timeout: options.timeoutMs,
    bind: options.bind,
    mark: options.mark,
  };
  return Object.entries(flags).flatMap(([key, value]) => (value === undefined ? [] : [`--${key}`, String(value)]));
}

/** Runs TCP clients in a host to their end. @throws Error when the client itself fails or hangs. */
export async function runClients(host: TestHost, target: string, options: ClientOptions = {}): Promise<ClientReport> {
  const rounds = Math.ceil((options.count ?? 1) / (options.parallel ?? 1));
  const timeoutMs = 10_000 + (options.timeoutMs ?? 10_000) * Math.min(rounds, 10);
  const output = await host.check(peerCommand('tcp-client', clientArguments(target, options)), { timeoutMs });
  return JSON.parse(output) as ClientReport;
}

/** What `udp-client` reports. */
export interface DatagramReport {
  /** Answers from the address and port that was written to, with the bytes that were sent where those are compared. */
  readonly right: number;
  readonly wrong: number;
  readonly lost: number;
  /** How many errors of which code there were instead of an answer. */
  readonly errors: Readonly<Record<string, number>>;
  /** For each client what it was answered, in the order of rounds and targets. */
  readonly answers: ReadonlyArray<readonly string[]>;
}

export interface DatagramOptions extends RunOptions {
  readonly mode?: 'echo' | 'seen' | 'hold';
  /** Sockets. */
  readonly count?: number;
  readonly rounds?: number;
  readonly bytes?: number;
  /** For each answer, in milliseconds. */
  readonly timeoutMs?: number;
  readonly bind?: string;
  /** SO_MARK of each socket. */
  readonly mark?: number;
  readonly connected?: boolean;
}

export function datagramArguments(targets: readonly string[], options: DatagramOptions = {}): readonly string[] {
  const flags: Readonly<Record<string, string | number | undefined>> = {
    mode: options.mode,
    count: options.count,
    rounds: options.rounds,
    bytes: options.bytes,
    timeout: options.timeoutMs,
    bind: options.bind,
    mark: options.mark,
  };
  return [
    ...targets.flatMap((target) => ['--target', target]),
    ...Object.entries(flags).flatMap(([key, value]) => (value === undefined ? [] : [`--${key}`, String(value)])),
    ...(options.connected ? ['--connected'] : []),
  ];
}

/** Runs UDP clients in a host to their end. @throws Error when the client itself fails or hangs. */
export async function runDatagrams(
  host: TestHost,
  targets: readonly string[],
  options: DatagramOptions = {},
): Promise<DatagramReport> {
  const output = await host.check(peerCommand('udp-client', datagramArguments(targets, options)), {
    timeoutMs: 60_000,
  });
  return JSON.parse(output) as DatagramReport;
}
