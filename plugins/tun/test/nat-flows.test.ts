/** When a source goes to another flow: never too early, and never lost. Times are in tenths of a second. */
import { describe, expect, test } from 'vitest';
import { NAT_TIMES } from '../src/nat-flows.ts';
import { ACK, type Ends, FIN, packetOf, type PacketOptions, readPacket, RST, SYN, UDP } from './packets.ts';
import { LISTENERS, NAT, OWN, TestPath } from './path.ts';

const SERVER = '203.0.113.7';

/** One flow of a path with a single source, unless said otherwise. */
class Scene {
  readonly path: TestPath;
  now = 0;

  constructor(ports = 1) {
    this.path = new TestPath({ addresses: 1, ports });
  }

  /** @returns the source that the flow got; `undefined`: the packet was dropped. */
  client(port: number, options: PacketOptions = {}): number | undefined {
    const ends: Ends = { from: [OWN[4], port], to: [SERVER, 80] };
    const out = this.path.take(packetOf(ends, options), this.now);
    if (!out) return undefined;
    const read = readPacket(out);
    if (read.faults.length > 0) throw new Error(read.faults.join(', '));
    return read.ends.to[0] === OWN[4] && read.ends.to[1] === LISTENERS.tcp ? read.ends.from[1] : undefined;
  }

  /** @returns the client's port; `undefined`: the packet was dropped. */
  listener(source: number, options: PacketOptions = {}): number | undefined {
    const ends: Ends = { from: [OWN[4], LISTENERS.tcp], to: [NAT[4], source] };
    const out = this.path.take(packetOf(ends, { flags: ACK, ...options }), this.now);
    return out && readPacket(out).ends.to[1];
  }

  get living(): number {
    return this.path.flows.tcp4.living;
  }
}

function opened(scene: Scene, port: number): number {
  const source = scene.client(port, { sequence: 100 });
  expect(source).toBeDefined();
  scene.listener(source as number, { flags: SYN | ACK, acknowledge: 101 });
  scene.client(port, { flags: ACK, sequence: 101, acknowledge: 1 });
  return source as number;
}

/** Whether another flow gets the only source, `after` tenths from now. */
function isFree(scene: Scene, after: number): boolean {
  const { now } = scene;
  scene.now = now + after;
  const got = scene.client(60_000 + (after % 1000));
  scene.now = now;
  return got !== undefined;
}

const { brief, linger, opening, idle } = NAT_TIMES;

describe('a source is free again', () => {
  test('a little after a RST, of either side', () => {
    for (const side of ['client', 'listener'] as const) {
      const scene = new Scene();
      const source = opened(scene, 1);
      if (side === 'client') scene.client(1, { flags: RST, sequence: 101 });
      else scene.listener(source, { flags: RST, sequence: 1 });
      expect(scene.living).toBe(0);
      expect(isFree(scene, brief - 1)).toBe(false);
      expect(isFree(scene, brief)).toBe(true);
    }
  });

  test('a little after the client ended first: our socket is gone with the last ACK', () => {
    const scene = new Scene();
    const source = opened(scene, 1);
    scene.client(1, { flags: FIN | ACK, sequence: 101, acknowledge: 1, payload: new Uint8Array(9) });
    expect(scene.living).toBe(1);
    scene.listener(source, { flags: FIN | ACK, sequence: 1, acknowledge: 111 });
    expect(scene.living).toBe(0);
    expect(isFree(scene, brief - 1)).toBe(false);
    expect(isFree(scene, brief)).toBe(true);
  });

  test('when TIME_WAIT is over after our side ended first', () => {
    const scene = new Scene();
    const source = opened(scene, 1);
    scene.listener(source, { flags: FIN | ACK, sequence: 1, acknowledge: 101 });
    scene.client(1, { flags: FIN | ACK, sequence: 101, acknowledge: 2 });
    expect(scene.living).toBe(0);
    expect(isFree(scene, linger - 1)).toBe(false);
    expect(isFree(scene, linger)).toBe(true);
  });

  test('when TIME_WAIT is over after both ended at once', () => {
    const scene = new Scene();
    const source = opened(scene, 1);
    scene.client(1, { flags: FIN | ACK, sequence: 101, acknowledge: 1 });
    scene.listener(source, { flags: FIN | ACK, sequence: 1, acknowledge: 101 });
    expect(isFree(scene, linger - 1)).toBe(false);
    expect(isFree(scene, linger)).toBe(true);
  });

  test('not while its old flow is still spoken in', () => {
    const scene = new Scene();
    opened(scene, 1);
    scene.client(1, { flags: RST, sequence: 101 });
    scene.now = brief - 1;
    scene.client(1, { flags: RST, sequence: 101 });
    expect(isFree(scene, 1)).toBe(false);
    expect(isFree(scene, brief - 1)).toBe(false);
    scene.now += brief;
    expect(isFree(scene, brief)).toBe(true);
  });

  test('long after a client that nobody answered, and never while a connection stands', () => {
    const scene = new Scene(2);
    scene.client(1);
    opened(scene, 2);
    scene.path.flows.tcp4.sweep(opening - 1);
    expect(scene.living).toBe(2);
    scene.path.flows.tcp4.sweep(opening);
    expect(scene.living).toBe(1);
    scene.path.flows.tcp4.sweep(1e9);
    expect(scene.living).toBe(1);
  });

  test('UDP: when nobody has sent for a while', () => {
    const path = new TestPath({ addresses: 1, ports: 1 });
    const send = (port: number, now: number) =>
      path.take(packetOf({ from: [OWN[4], port], to: [SERVER, 53] }, { protocol: UDP }), now);
    expect(send(1, 0)).toBeDefined();
    path.flows.udp4.sweep(idle - 1);
    expect(send(2, idle - 1)).toBeUndefined();
    expect(send(1, idle - 1)).toBeDefined();
    path.flows.udp4.sweep(2 * idle);
    expect(path.flows.udp4.living).toBe(0);
    // A client that comes back before its source is given away goes on with it.
    expect(send(1, 2 * idle)).toBeDefined();
    expect(path.flows.udp4.living).toBe(1);
    path.flows.udp4.sweep(3 * idle);
    expect(send(2, 3 * idle + brief)).toBeDefined();
  });
});

describe('a connection', () => {
  test('that was said to be reset by somebody else goes on', () => {
    const scene = new Scene();
    const source = opened(scene, 1);
    scene.client(1, { flags: RST, sequence: 4711 });
    expect(scene.living).toBe(0);
    // Its own data: the client still has its socket.
    expect(scene.client(1, { flags: ACK, sequence: 101, acknowledge: 1 })).toBe(source);
    expect(scene.living).toBe(1);
    expect(isFree(scene, 10 * linger)).toBe(false);
    expect(scene.listener(source)).toBe(1);
  });

  test('between the ports of one that lives is another one, and the old answers still find their client', () => {
    const scene = new Scene(2);
    const source = opened(scene, 1);
    expect(scene.client(1, { sequence: 100 }), 'a SYN that was sent again').toBe(source);
    const other = scene.client(1, { sequence: 7000 });
    expect(other).not.toBe(source);
    expect(scene.listener(source)).toBe(1);
    expect(scene.listener(other as number)).toBe(1);
    expect(scene.client(1, { flags: ACK, sequence: 7001 })).toBe(other);
  });

  test('between the ports of one that has just ended gets another source', () => {
    const scene = new Scene(2);
    const source = opened(scene, 1);
    scene.client(1, { flags: RST, sequence: 101 });
    expect(scene.client(1, { sequence: 100 })).not.toBe(source);
  });
});

test('sources are used again before fresh ones are taken', () => {
  const scene = new Scene(1000);
  for (let round = 0; round < 50; round++) {
    for (let port = 1; port <= 10; port++) {
      opened(scene, 100 * round + port);
      scene.client(100 * round + port, { flags: RST, sequence: 101 });
    }
    scene.now += brief;
  }
  expect(scene.path.flows.tcp4.used).toBe(10);
});

test('ports wrap many times, and no source belongs to two flows that live', () => {
  const scene = new Scene(8);
  const living = new Map<number, number>();
  let next = 1;
  let random = 12_345;
  const below = (limit: number): number => {
    random = (Math.imul(random, 1_103_515_245) + 12_345) & 0x7fffffff;
    return random % limit;
  };
  let flows = 0;
  for (let step = 0; step < 20_000; step++) {
    scene.now += below(4);
    const ports = [...living.keys()];
    if (below(2) === 0 || ports.length === 0) {
      const port = next;
      next = (next % 50_000) + 1;
      const source = scene.client(port, { sequence: 100 });
      if (source === undefined) continue;
      flows++;
      expect([...living.values()], `step ${step}`).not.toContain(source);
      living.set(port, source);
      scene.listener(source, { flags: SYN | ACK });
    } else {
      const port = ports[below(ports.length)] as number;
      const source = living.get(port) as number;
      if (below(3) === 0) {
        scene.client(port, { flags: RST, sequence: 101 });
        living.delete(port);
      } else {
        expect(scene.client(port, { flags: ACK, sequence: 101 })).toBe(source);
        expect(scene.listener(source)).toBe(port);
      }
    }
    expect(scene.living).toBe(living.size);
  }
  expect(flows).toBeGreaterThan(8 * 50);
  expect(scene.path.flows.tcp4.used).toBe(8);
});
