/** A bug in a dialer ends its flows with dial-error, and its text is logged once, wherever the dialer runs. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type { FlowRecord } from '../../src/api/flow.ts';
import type { Logger } from '../../src/api/logger.ts';
import { buildLookupTable } from '../../src/capture/index.ts';
import { DataPlane } from '../../src/dataplane/data-plane.ts';
import { NameDirectory } from '../../src/dataplane/name-directory.ts';
import { NameTexts } from '../../src/dataplane/name-texts.ts';
import type { DialPlans } from '../../src/engine/dial-plans.ts';
import { StreamFlows } from '../../src/engine/stream-flows.ts';
import { SILENT } from '../../src/testing/index.ts';
import { compile } from '../capture/sets.ts';

const SERVICE = 16;
const TIMEOUTS = { connect: 1000, handshake: 1000, idle: 60_000, halfClosed: 60_000, udpIdle: 60_000 };
const FLOWS = 3;
const nothing = () => undefined;

const directory = mkdtempSync(join(tmpdir(), 'weir-dialer-'));
afterAll(() => rmSync(directory, { recursive: true }));

const STEP = (body: string) => `{ kind: 'handshake', routes() {}, handshake: () => ({ step(input) { ${body} } }) }`;
const DIAL = (body: string) => `{ kind: 'stream', async dial() { ${body} }, async close() {} }`;
const REFUSAL = `throw Object.assign(new Error('the upstream said no'), { failure: 'refused' });`;

test.each([
  ['a handshake that throws', 'handshake', STEP(`throw new TypeError('oops\\nmore');`), 'TypeError: oops'],
  ['a handshake that throws nothing', 'handshake', STEP('throw null;'), 'it threw no Error (object)'],
  [
    'a handshake that consumes too much',
    'handshake',
    STEP('return { consumed: 7, done: false };'),
    'TypeError: step() says it consumed 7 of 0 bytes',
  ],
  ['a handshake that refuses', 'handshake', STEP(REFUSAL), undefined],
  ['a stream dialer that throws', 'stream', DIAL(`throw new RangeError('too far');`), 'RangeError: too far'],
  ['a stream dialer that refuses', 'stream', DIAL(REFUSAL), undefined],
] as const)('%s', async (title, kind, dialer, reason) => {
  const module = pathToFileURL(join(directory, `${title.replaceAll(' ', '-')}.mjs`));
  writeFileSync(module, `export const dialer = { create: () => (${dialer}) };\n`);
  const place = { index: 3, name: 'mine', module, options: {}, bypassMark: 0 };
  const upstream = createServer((socket) => void socket.on('error', nothing)).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const { port } = upstream.address() as AddressInfo;

  const warned: unknown[] = [];
  const warn = (fields: unknown) => void warned.push(fields);
  const log: Logger = { ...SILENT, warn, child: () => log };
  const plans = { streamDialer: () => place, nameOf: () => place.name } as unknown as DialPlans;
  const streams = new StreamFlows(plans, () => TIMEOUTS, log);
  const ended: FlowRecord[] = [];
  const limits = { workers: 1, mark: 0, flowLimit: 64, sessionLimit: 16, pendingDials: 16, services: 1 };
  const plane = new DataPlane(
    { ...limits, timeouts: TIMEOUTS, log },
    {
      resolve: () => Promise.resolve({ addresses: [], expiresAt: 0 }),
      findName: () => Promise.resolve(false),
      canary: nothing,
      ended: (record) => ended.push(record),
      rebound: nothing,
      fatal: (error) => ended.push(error as never),
      stream: (flow) => streams.take(flow),
      serviceName: () => 'web',
      nameText: nothing,
      dialerName: () => place.name,
      interceptorName: () => 'none',
    },
  );
  const [point] = plane.open([
    {
      id: 'tcp4',
      network: { family: 4, protocol: 'tcp' },
      bind: { address: '127.0.0.1', port: 0 },
      transparent: false,
      original: { via: 'fixed', service: SERVICE, target: { host: '127.0.0.1', port } },
    },
  ]);
  await plane.start();
  await plane.install({
    type: 'table',
    generation: 1,
    lookup: buildLookupTable(compile({ services: [] }), { rows: [] }),
    names: NameDirectory.allocate(16),
    nameTexts: NameTexts.allocate(16),
    serviceNames: [[SERVICE, 'web']],
    dialers: kind === 'handshake' ? [{ ...place, module: module.href }] : [],
    plans: [[SERVICE, [{ kind, dialer: place.index, ...(kind === 'handshake' ? { host: '127.0.0.1', port } : {}) }]]],
    unmatched: [{ kind: 'reset', dialer: 0 }],
    graceMs: 0,
    timeouts: TIMEOUTS,
  });
  plane.listen();

  const clients = Array.from({ length: FLOWS }, () => connect(point?.port ?? 0, '127.0.0.1').on('error', nothing));
  await expect.poll(() => ended.length, { timeout: 5000 }).toBe(FLOWS);
  const outcome = reason === undefined ? 'dial-refused' : 'dial-error';
  expect(ended.map((record) => record.outcome)).toEqual(Array.from({ length: FLOWS }, () => outcome));
  expect(warned).toEqual(reason === undefined ? [] : [{ dialer: 'mine', reason }]);

  for (const client of clients) client.destroy();
  await streams.close();
  await plane.stop();
  plane.closePoints();
  upstream.close();
});
