/** What the resolver's tests share: a silent log, matchers, fake and real upstreams on loopback, dig. */
import { execFile, spawn } from 'node:child_process';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import packet from 'dns-packet';
import type { Endpoint } from '../../src/api/flow.ts';
import type { HostChange, HostChanges } from '../../src/api/host.ts';
import type { Logger } from '../../src/api/logger.ts';
import { parsePrefix } from '../../src/capture/address.ts';
import { DEFAULTS } from '../../src/config/defaults.ts';
import type { DnsListen, ResolverConfiguration } from '../../src/config/model.ts';
import type { NameMatcher } from '../../src/resolvers/assigned.ts';

export const silent: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silent,
};

export const RANGES = [parsePrefix('100.64.0.0/10'), parsePrefix('fd64:7765:6972::/64')];

/** Matches exact names and `*.suffix`, by their place in the list. */
export function matcherOf(...patterns: readonly string[]): NameMatcher {
  return {
    match: (name) =>
      patterns.findIndex((pattern) => (pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) : name === pattern)),
  };
}

/** Host changes without a journal. */
export class PlainChanges implements HostChanges {
  readonly made: HostChange[] = [];

  async change(change: HostChange): Promise<void> {
    await change.do();
    this.made.push(change);
  }

  async undo(id: string): Promise<void> {
    const index = this.made.findLastIndex((change) => change.id === id);
    if (index >= 0) await this.made.splice(index, 1)[0]?.undo();
  }

  async undoAll(): Promise<void> {
    for (const change of this.made.toReversed()) await this.undo(change.id);
  }
}

export function listenOn(port: number, address = '127.0.0.1'): readonly DnsListen[] {
  return (['udp', 'tcp'] as const).map((protocol) => ({ protocol, endpoint: { address, port } }));
}

export function resolverConfiguration(changes: Partial<ResolverConfiguration>): ResolverConfiguration {
  return { ...DEFAULTS.resolver, listen: listenOn(0), reach: 'none', upstreams: [], ...changes };
}

/** A port that is free for TCP and UDP on 127.0.0.1 now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const udp = createSocket('udp4');
    const bound = await new Promise<boolean>((resolve) => {
      udp.once('error', () => resolve(false)).bind(port, '127.0.0.1', () => resolve(true));
    });
    udp.close();
    await new Promise((resolve) => server.close(resolve));
    if (bound) return port;
  }
}

export class TemporaryDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'weir-dns-'));

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A DNS server that answers, or not, whatever the test says. */
export class FakeUpstream implements AsyncDisposable {
  readonly endpoint: Endpoint;
  readonly #socket: Socket;
  #open = true;
  /** Queries that arrived, raw. */
  readonly queries: Buffer[] = [];
  /** Source ports of the queries. */
  readonly ports: number[] = [];

  private constructor(socket: Socket, react: (query: Buffer, reply: (message: Buffer) => void) => void) {
    this.#socket = socket;
    this.endpoint = { address: '127.0.0.1', port: socket.address().port };
    socket.on('message', (query: Buffer, from: RemoteInfo) => {
      this.queries.push(Buffer.from(query));
      this.ports.push(from.port);
      react(query, (message) => this.#open && socket.send(message, from.port, from.address));
    });
  }

  static async open(react: (query: Buffer, reply: (message: Buffer) => void) => void): Promise<FakeUpstream> {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new FakeUpstream(socket, react);
  }

  /** Sends from this server's port, to whomever. */
  send(message: Buffer, to: Endpoint): Promise<void> {
    return new Promise((resolve) => this.#socket.send(message, to.port, to.address, () => resolve()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}

/** A response to `query` made by dns-packet. */
export function responseTo(
  query: Buffer,
  parts: { rcode?: number; flags?: number; answers?: unknown[]; authorities?: unknown[] },
): Buffer {
  const { id, questions } = packet.decode(query);
  return packet.encode({
    id,
    type: 'response',
    flags: 0x0180 | (parts.flags ?? 0) | (parts.rcode ?? 0),
    questions,
    answers: parts.answers ?? [],
    authorities: parts.authorities ?? [],
  });
}

/** dnsmasq as an upstream that knows only what its arguments say. */
export class Dnsmasq implements AsyncDisposable {
  readonly endpoint: Endpoint;
  readonly #process: ReturnType<typeof spawn>;

  private constructor(endpoint: Endpoint, process: ReturnType<typeof spawn>) {
    this.endpoint = endpoint;
    this.#process = process;
  }

  static async start(...args: readonly string[]): Promise<Dnsmasq> {
    const port = await freePort();
    const fixed = ['--no-daemon', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--bind-interfaces', '--user='];
    const child = spawn('/usr/sbin/dnsmasq', [...fixed, '--listen-address=127.0.0.1', `--port=${port}`, ...args], {
      stdio: 'ignore',
    });
    const upstream = new Dnsmasq({ address: '127.0.0.1', port }, child);
    for (let i = 0; i < 100; i++) {
      const open = await new Promise<boolean>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
        socket.once('connect', () => socket.destroy());
      });
      if (open) return upstream;
      await sleep(50);
    }
    throw new Error('dnsmasq did not start');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'close');
  }
}

/** What dig prints; never fails. */
export function dig(port: number, ...args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const fixed = ['@127.0.0.1', '-p', String(port), '+time=4', '+tries=1'];
    execFile('dig', [...fixed, ...args], { timeout: 15_000 }, (_, stdout, stderr) => resolve(stdout + stderr));
  });
}
