/** A bug in a dialer ends its flows with dial-error, and its text is logged once, wherever the dialer runs. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { FIRST_SERVICE } from '../../src/api/capture.ts';
import type { DialTarget } from '../../src/api/dialer.ts';
import type { FlowRecord } from '../../src/api/flow.ts';
import type { Logger } from '../../src/api/logger.ts';
import { buildLookupTable } from '../../src/capture/index.ts';
import { FlowSlab, PROTOCOL } from '../../src/dataplane/flow-slab.ts';
import { Handshaking } from '../../src/dataplane/handshaking.ts';
import { DataPlane } from '../../src/dataplane/data-plane.ts';
import { NameDirectory } from '../../src/dataplane/name-directory.ts';
import { NameTexts } from '../../src/dataplane/name-texts.ts';
import type { DialPlans } from '../../src/engine/dial-plans.ts';
import { StreamFlows } from '../../src/engine/stream-flows.ts';
import { IPPROTO_UDP } from '../../src/sys/constants.ts';
import { SILENT } from '../../src/testing/index.ts';
import { compile } from '../capture/sets.ts';

const TIMEOUTS = { connect: 1000, handshake: 1000, idle: 60_000, halfClosed: 60_000, udpIdle: 60_000 };
const FLOWS = 3;
const nothing = () => undefined;

const directory = mkdtempSync(join(tmpdir(), 'weir-dialer-'));
afterAll(() => rmSync(directory, { recursive: true }));

const STEP = (body: string) => `{ kind: 'handshake', routes() {}, handshake: () => ({ step(input) { ${body} } }) }`;
const DIAL = (body: string) => `{ kind: 'stream', async dial() { ${body} }, async close() {} }`;
const REFUSAL = `throw Object.assign(new Error('the upstream said no'), { failure: 'refused' });`;

/** By name: what the dialer does, and what is logged of it. */
const DIALERS: ReadonlyArray<readonly [name: string, kind: 'handshake' | 'stream', source: string, reason?: string]> = [
  ['throws', 'handshake', STEP(`throw new TypeError('oops\\nmore');`), 'TypeError: oops'],
  ['throws-null', 'handshake', STEP('throw null;'), 'it threw no Error (object)'],
  [
    'consumes-too-much',
    'handshake',
    STEP('return { consumed: 7, done: false };'),
    'TypeError: step() says it consumed 7 of 0 bytes',
  ],
  ['refuses', 'handshake', STEP(REFUSAL)],
  ['throws-in-dial', 'stream', DIAL(`throw new RangeError('too far');`), 'RangeError: too far'],
  ['refuses-in-dial', 'stream', DIAL(REFUSAL)],
];

const places = DIALERS.map(([name, , source], index) => {
  const module = pathToFileURL(join(directory, `${name}.mjs`));
  writeFileSync(module, `export const dialer = { create: () => (${source}) };\n`);
  return { index, name, module, options: {}, bypassMark: 0 };
});

test('each is logged once, however many flows it ends, and a DialError is none', async () => {
  const upstream = createServer((socket) => void socket.on('error', nothing)).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const { port } = upstream.address() as AddressInfo;

  const warned: unknown[] = [];
  const warn = (fields: unknown) => void warned.push(fields);
  const log: Logger = { ...SILENT, warn, child: () => log };
  const nameOf = (index: number) => places[index]?.name;
  const plans = { streamDialer: (index: number) => places[index], nameOf } as unknown as DialPlans;
  const streams = new StreamFlows(plans, () => TIMEOUTS, log);
  const ended: FlowRecord[] = [];
  const limits = { workers: 1, mark: 0, flowLimit: 64, sessionLimit: 16, pendingDials: 16, services: DIALERS.length };
  const plane = new DataPlane(
    { ...limits, timeouts: TIMEOUTS, log },
    {
      resolve: () => Promise.resolve({ addresses: [], expiresAt: 0 }),
      findName: () => Promise.resolve(false),
      canary: nothing,
      ended: (record) => ended.push(record),
      rebound: nothing,
      fatal: nothing,
      stream: (flow) => streams.take(flow),
      serviceName: (service) => places[service - FIRST_SERVICE]?.name,
      nameText: nothing,
      dialerName: nameOf,
      interceptorName: () => 'none',
    },
  );
  const points = plane.open(
    places.map(({ index, name }) => ({
      id: name,
      network: { family: 4, protocol: 'tcp' },
      bind: { address: '127.0.0.1', port: 0 },
      transparent: false,
      original: { via: 'fixed', service: FIRST_SERVICE + index, target: { host: '127.0.0.1', port } },
    })),
  );
  await plane.start();
  await plane.install({
    type: 'table',
    generation: 1,
    lookup: buildLookupTable(compile({ services: [] }), { rows: [] }),
    names: NameDirectory.allocate(16),
    nameTexts: NameTexts.allocate(16),
    serviceNames: [],
    dialers: places
      .filter(({ index }) => DIALERS[index]?.[1] === 'handshake')
      .map((place) => ({ ...place, module: place.module.href })),
    plans: DIALERS.map(([, kind], dialer) => {
      const to = kind === 'handshake' ? { host: '127.0.0.1', port } : {};
      return [FIRST_SERVICE + dialer, [{ kind, dialer, ...to }]] as const;
    }),
    unmatched: [{ kind: 'reset', dialer: 0 }],
    graceMs: 0,
    timeouts: TIMEOUTS,
  });
  plane.listen();

  const wanted = points.flatMap((point) => Array.from({ length: FLOWS }, () => point.port));
  const clients = wanted.map((to) => connect(to, '127.0.0.1').on('error', nothing));
  await expect.poll(() => ended.length, { timeout: 10_000 }).toBe(wanted.length);
  for (const [name, , , reason] of DIALERS) {
    const outcomes = ended.filter(({ service }) => service === name).map(({ outcome }) => outcome);
    const outcome = reason === undefined ? 'dial-refused' : 'dial-error';
    expect([name, ...outcomes]).toEqual([name, ...Array.from({ length: FLOWS }, () => outcome)]);
  }
  const faults = DIALERS.flatMap(([dialer, , , reason]) => (reason === undefined ? [] : [{ dialer, reason }]));
  expect(warned).toHaveLength(faults.length);
  expect(warned).toEqual(expect.arrayContaining(faults));

  for (const client of clients) client.destroy();
  await streams.close();
  await plane.stop();
  plane.closePoints();
  upstream.close();
});

test('a handshake for UDP that ends without a tunnel is a fault as well', () => {
  const slab = new FlowSlab(FlowSlab.allocate(1));
  slab.i32[PROTOCOL] = IPPROTO_UDP;
  const faults: unknown[] = [];
  const handshaking = new Handshaking(slab, (fault) => void faults.push(fault));
  const made = {
    kind: 'handshake' as const,
    routes: () => [],
    handshake: () => ({ step: () => ({ consumed: 0, done: true }) }),
  };
  const target = {} as DialTarget;
  expect(handshaking.begin(0, 3, made, target)).toEqual({ state: 'failed', outcome: 'dial-error' });
  expect(faults).toEqual([{ dialer: 3, reason: 'TypeError: step() is done for UDP and has no tunnel' }]);
});
