/** A mechanism in a namespace of its own, and where the kernel takes flows there. */
import {
  addressToBytes,
  addressToNumber,
  type BoundPoint,
  bytesToAddress,
  type CaptureScopes,
  type CaptureSet,
  type Endpoint,
  type Family,
  type FlowKey,
  hostFacts,
  type HostFacts,
  type InterceptorDefinition,
  type Interceptor,
  NAT_ORIGINAL,
  NAT_ORIGINAL_PORT,
  NAT_SOURCE,
  NAT_SOURCE_PORT,
  NatLookup,
  numberToAddress,
  type PlanInput,
  type PointSpec,
  type Protocol,
  type Pump,
} from '@weir/core';
import {
  closeWithReset,
  EINPROGRESS,
  errno,
  libc,
  MSG_DONTWAIT,
  openSocket,
  readSockaddr,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  sockaddr,
  SOCKADDR_LENGTH,
  socketName,
} from '@weir/core/sys';
import {
  enterFreshNamespace,
  MemoryChanges,
  runPump as startPump,
  shell,
  SILENT,
  TEST_NUMBERS as NUMBERS,
} from '@weir/core/testing';
import { Datagrams, receiveAt } from './datagrams.ts';
import { Lan, LAN_DEVICE } from './lan.ts';
import { Wire } from './wire.ts';
import { CANARIES, isOwn, SOURCES } from './world.ts';

const signal = new AbortController().signal;

/** How a mechanism takes flows, where mechanisms differ. */
export interface Mechanism {
  readonly definition: InterceptorDefinition<never>;
  /**
   * The source that local flows get with their route, by family; sockets are then not bound to one. Absent: any source
   * is kept.
   */
  readonly source?: Readonly<Record<Family, string>>;
  /** The interceptor's own, validated already. Default: none. */
  readonly options?: unknown;
  /** Whether it refuses services that name addresses of the host. Default: it does not. */
  readonly refusesOwnAddresses?: (scope: Scope) => boolean;
}

/** Which flows are captured: the host's own, those that it passes on, or both. */
export type Scope = 'output' | 'forward' | 'both';

/** What became of a flow. `unsendable`: connect() refused it itself. */
export type Fate = 'captured' | 'wire' | 'neither' | 'unsendable';

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

export class KernelUnderTest implements AsyncDisposable {
  readonly facts: HostFacts;
  /** What every capture set must say. */
  readonly scopes: CaptureScopes;
  readonly #lan: Lan | undefined;
  readonly #source: Mechanism['source'];
  readonly #interceptor: Interceptor;
  /** The mechanism takes UDP too. */
  readonly #protocols: readonly Protocol[];
  readonly #datagrams = new Datagrams();
  #points: readonly BoundPoint[] = [];
  readonly #wire: Wire;
  readonly #onCrash: PlanInput['onCrash'];
  #started = false;
  /** Of flows in this namespace; none is used twice, so that conntrack never takes one for an older one. */
  #sourcePort = 1024;

  /** @param scope with `output` the flows are the host's own; otherwise they come from behind it, and are passed on. */
  constructor(
    { definition, source, options = {} }: Mechanism,
    { onCrash, scope }: { readonly onCrash: PlanInput['onCrash']; readonly scope: Scope },
  ) {
    const forward = { interfaces: [LAN_DEVICE] };
    this.scopes = { output: scope !== 'forward', ...(scope === 'output' ? {} : { forward }) };
    if (scope === 'output') {
      enterFreshNamespace({ uplink: true });
      shell(`ip route add local ${SOURCES[4]} dev lo; ip -6 route add local ${SOURCES[6]} dev lo`);
      // What is passed on keeps its source under every mechanism.
      this.#source = source;
    } else this.#lan = new Lan();
    this.facts = hostFacts();
    const { networks } = definition.capabilities;
    this.#protocols = [...new Set(networks.map(({ protocol }) => protocol))];
    this.#onCrash = onCrash;
    this.#wire = new Wire('up1');
    this.#interceptor = definition.create(
      {
        owner: 'default',
        numbers: NUMBERS,
        host: new MemoryChanges(),
        log: SILENT,
        pump: runPump,
      },
      options as never,
    );
  }

  /** Starts with the first set, updates to each later one. */
  async steer(set: CaptureSet): Promise<void> {
    if (!this.#started) this.#points = (await this.#interceptor.provision(signal)).map(listenAt);
    const input: PlanInput = {
      owner: 'default',
      set,
      points: this.#points,
      numbers: NUMBERS,
      facts: this.facts,
      onCrash: this.#onCrash,
      serviceNames: new Map(),
    };
    if (this.#started) return this.#interceptor.update(input, signal);
    await this.#interceptor.start(input, signal);
    this.#started = true;
  }

  /** What the mechanism captures. */
  get protocols(): readonly Protocol[] {
    return this.#protocols;
  }

  /** The flow as it will be: with the source that it can have under this mechanism. */
  sendable(flow: FlowKey): FlowKey {
    if (!this.#source) return flow;
    const { family, destination } = flow;
    const own = isOwn(family, destination);
    const loopback = family === 4 && destination >> 24n === 127n;
    const source = own
      ? loopback
        ? addressToNumber('127.0.0.1')
        : destination
      : addressToNumber(this.#source[family]);
    return { ...flow, source };
  }

  async drift(): Promise<readonly unknown[]> {
    return this.#interceptor.verify(signal);
  }

  /** True while there are enough unused source ports for that many flows. */
  hasRoomFor(flows: number): boolean {
    return this.#sourcePort + flows + CANARIES.length < 65_000;
  }

  /**
   * Sends the first packets of all flows and then a canary of each family and protocol; what has not arrived when the canaries have, and a while later, does
   * not arrive. @throws Error when a canary does not, or when something arrives that nobody sent.
   */
  send(flows: readonly FlowKey[]): readonly Fate[] {
    const fates: Fate[] = flows.map(() => 'neither');
    const provable = CANARIES.filter(({ protocol }) => this.#protocols.includes(protocol));
    const canaries = provable.map(({ family, protocol, address, port }): Sent => {
      const source = this.#source?.[family] ?? (SOURCES[family].split('/')[0] as string);
      return { family, protocol, source, target: { address, port }, sourcePort: ++this.#sourcePort };
    });
    const sent = flows.map(({ family, protocol, source, destination, port }): Sent => ({
      family,
      protocol,
      source: numberToAddress(family, source),
      target: { address: numberToAddress(family, destination), port },
      sourcePort: ++this.#sourcePort,
    }));
    const open: number[] = [];
    const all = [...sent, ...canaries];
    const bySourcePort = new Map(all.map((flow, index) => [flow.sourcePort, index]));
    const beginAll = () => {
      for (const [index, flow] of all.entries()) {
        const fd = begin(flow, this.#source === undefined);
        if (fd === undefined) fates[index] = 'unsendable';
        else open.push(fd);
      }
    };
    try {
      if (this.#lan) this.#lan.within(beginAll);
      else beginAll();
      const left = new Set(canaries.map((flow) => flow.sourcePort));
      // The canaries went last; two quiet rounds behind them catch what another core still had in hand.
      for (let quiet = 0, waited = 0; quiet < 2; waited++) {
        let seen = 0;
        for (const { sourcePort, text } of this.#arrivals()) {
          const index = bySourcePort.get(sourcePort);
          const flow = index === undefined ? undefined : all[index];
          if (index === undefined || !flow || text !== nameOf(flow)) {
            throw new Error(`${text} arrived from port ${sourcePort}, and nobody sent it`);
          }
          if (index < fates.length) fates[index] = 'captured';
          left.delete(sourcePort);
          seen++;
        }
        for (const [sourcePort, target] of this.#wire.first()) {
          const index = bySourcePort.get(sourcePort);
          const flow = index === undefined ? undefined : all[index];
          if (index === undefined || !flow) continue; // a retransmission of an earlier round
          if (`${flow.protocol} ${flow.target.address} ${flow.target.port}` !== target) {
            throw new Error(`${target} left the host from port ${sourcePort}, and nobody sent it`);
          }
          if (fates[index] === 'captured') throw new Error(`${nameOf(flow)} was captured and left the host too`);
          if (index < fates.length) fates[index] = 'wire';
          seen++;
        }
        if (left.size > 0 && waited > 1000) throw new Error('a canary did not arrive within two seconds');
        quiet = seen === 0 && left.size === 0 ? quiet + 1 : 0;
        if (quiet < 2 && seen === 0) pause(2);
      }
    } finally {
      for (const fd of open) closeWithReset(fd);
    }
    return fates;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#interceptor.stop();
    for (const point of this.#points) for (const fd of point.fds) libc.close(fd);
    this.#wire[Symbol.dispose]();
    this.#lan?.[Symbol.dispose]();
  }

  *#arrivals(): Generator<{ readonly sourcePort: number; readonly text: string }> {
    const peer = Buffer.alloc(SOCKADDR_LENGTH);
    for (const point of this.#points) {
      if (point.network.protocol === 'udp') {
        for (const [source, own] of this.#datagrams.arrivals(point)) {
          const [from, to] = endsOf(point, source, own);
          yield { sourcePort: from.port, text: `udp ${from.address} to ${to.address} ${to.port}` };
        }
        continue;
      }
      for (;;) {
        const [fd = -1] = point.fds;
        const flow = libc.accept4(fd, peer, Int32Array.of(SOCKADDR_LENGTH), SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (flow < 0) break;
        const [from, to] = endsOf(point, readSockaddr(peer), socketName(flow));
        closeWithReset(flow);
        yield { sourcePort: from.port, text: `tcp ${from.address} to ${to.address} ${to.port}` };
      }
    }
  }
}

function listenAt(spec: PointSpec): BoundPoint {
  const { network, transparent, bind } = spec;
  if (network.protocol === 'udp') return receiveAt(spec, NUMBERS.bypassMark);
  const fd = openSocket({ ...network, mark: NUMBERS.bypassMark, transparent, bind });
  libc.listen(fd, 1024);
  return { ...spec, port: socketName(fd).port, fds: [fd] };
}

/** Source and original destination of a flow that arrived. */
function endsOf({ original }: BoundPoint, peer: Endpoint, own: Endpoint): readonly [Endpoint, Endpoint] {
  if (original.via !== 'nat-table') return [peer, own];
  const lookup = new NatLookup(original.table);
  const bytes = addressToBytes(peer.address);
  const entry = lookup.find(new DataView(bytes.buffer, bytes.byteOffset), 0, peer.port);
  if (entry < 0) throw new Error(`${peer.address} ${peer.port} arrived, and is in no table`);
  const address = (at: number) => bytesToAddress(new Uint8Array(original.table, 4 * (entry + at), bytes.length));
  return [
    { address: address(NAT_SOURCE), port: lookup.words[entry + NAT_SOURCE_PORT] as number },
    { address: address(NAT_ORIGINAL), port: lookup.words[entry + NAT_ORIGINAL_PORT] as number },
  ];
}

/** A pump that dies fails the test. */
function runPump(module: URL, data: unknown): Promise<Pump> {
  return startPump(module, data, (error) => {
    queueMicrotask(() => {
      throw error;
    });
  });
}

interface Sent {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly source: string;
  readonly sourcePort: number;
  readonly target: { readonly address: string; readonly port: number };
}

function nameOf({ protocol, source, target }: Sent): string {
  return `${protocol} ${source} to ${target.address} ${target.port}`;
}

const PAYLOAD = Buffer.from('weir');

const UNSPECIFIED: Readonly<Record<Family, string>> = { 4: '0.0.0.0', 6: '::' };

/**
 * Begins a connection, or sends a datagram, from a given port, and source where it is `bound`.
 * @returns `undefined` when connect() itself refuses.
 */
function begin({ family, protocol, source, sourcePort, target }: Sent, bound: boolean): number | undefined {
  const fd = openSocket({
    family,
    protocol,
    transparent: true,
    bind: { address: bound ? source : UNSPECIFIED[family], port: sourcePort },
  });
  const name = sockaddr(target);
  if (libc.connect(fd, name, name.length) === 0 || errno() === EINPROGRESS) {
    if (protocol === 'udp') libc.send(fd, PAYLOAD, PAYLOAD.length, MSG_DONTWAIT);
    return fd;
  }
  libc.close(fd);
  return undefined;
}
