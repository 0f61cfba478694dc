/** What listeners are told, in which order, and that they cannot harm who tells them. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { FlowRecord } from '../../src/api/flow.ts';
import type { Logger } from '../../src/api/logger.ts';
import type { DataPlane } from '../../src/dataplane/data-plane.ts';
import { Events } from '../../src/engine/events.ts';
import { FlowLog } from '../../src/engine/flow-log.ts';

const lines: string[] = [];
const note = (_fields: unknown, message: string): void => void lines.push(message);
const log: Logger = { debug: note, info: note, warn: note, error: note, child: () => log };

beforeEach(() => {
  lines.length = 0;
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('a listener that throws or rejects is logged, and the others are called', async () => {
  const heard: number[] = [];
  const events = new Events(log, {
    draining() {
      throw new Error('one');
    },
  });
  events.on('draining', async () => {
    throw new Error('two');
  });
  const off = events.on('draining', ({ flows }) => heard.push(flows));
  events.emit('draining', { flows: 1 });
  off();
  off();
  events.emit('draining', { flows: 2 });
  await vi.advanceTimersByTimeAsync(0);
  expect(heard).toEqual([1]);
  expect(lines).toEqual(Array.from({ length: 4 }, () => 'a listener failed'));
});

describe('flows', () => {
  const record = (id: string): FlowRecord => ({
    id,
    protocol: 'tcp',
    interceptor: 'nft',
    source: { address: '192.0.2.1', port: 1 },
    original: { address: '192.0.2.2', port: 2 },
    relay: 'copy',
    bytesUp: 0,
    bytesDown: 0,
    startedAt: 0,
    durationMs: 0,
  });
  const living = new Set<string>();
  const dataPlane = {
    flowsBegun(known: ReadonlySet<string>, tell: (id: string) => void) {
      for (const id of living) tell(id);
      return [...living].filter((id) => !known.has(id)).map(record);
    },
    collectRecords: () => undefined,
  } as unknown as DataPlane;
  const told: string[] = [];
  const events = new Events(log, {
    'flow-opened': ({ id, outcome }) => told.push(`opened ${id}${outcome ?? ''}`),
    'flow-closed': ({ id }) => told.push(`closed ${id}`),
  });
  const end = (flows: FlowLog, id: string): void => {
    living.delete(id);
    flows.ended({ ...record(id), outcome: 'closed' });
  };

  beforeEach(() => {
    told.length = 0;
    living.clear();
  });

  test('each is told to have begun once, and before its end, also one that nobody saw', () => {
    const flows = new FlowLog(log, events, 'off', () => dataPlane);
    living.add('a');
    flows.watch();
    vi.advanceTimersByTime(500);
    living.add('b');
    vi.advanceTimersByTime(100);
    end(flows, 'a');
    end(flows, 'c');
    end(flows, 'b');
    flows.close();
    expect(told).toEqual(['opened a', 'opened b', 'closed a', 'opened c', 'closed c', 'closed b']);
    expect(lines).toEqual([]);
  });

  test('one whose record comes a look late did not begin twice; one whose record was lost is forgotten', () => {
    const flows = new FlowLog(log, events, 'off', () => dataPlane);
    living.add('late').add('lost');
    flows.watch();
    living.clear();
    vi.advanceTimersByTime(100);
    end(flows, 'late');
    vi.advanceTimersByTime(300);
    // The same id cannot come again in a run; here it shows that it is known no more.
    living.add('lost');
    vi.advanceTimersByTime(100);
    flows.close();
    expect(told).toEqual(['opened late', 'opened lost', 'closed late', 'opened lost']);
  });

  test('one whose slot is not free yet when its record comes did not begin twice', () => {
    const flows = new FlowLog(log, events, 'off', () => dataPlane);
    living.add('a');
    flows.watch();
    flows.ended({ ...record('a'), outcome: 'closed' });
    vi.advanceTimersByTime(100);
    living.delete('a');
    vi.advanceTimersByTime(300);
    flows.close();
    expect(told).toEqual(['opened a', 'closed a']);
  });

  test('log.flows: all writes a line for both, closed for ends only, off for none', () => {
    const quiet = new Events(log);
    const flows = new FlowLog(log, quiet, 'all', () => dataPlane);
    living.add('a');
    flows.watch();
    end(flows, 'a');
    flows.lines = 'closed';
    end(flows, 'b');
    flows.lines = 'off';
    end(flows, 'c');
    flows.close();
    expect(lines).toEqual(['flow opened', 'flow closed', 'flow closed']);
  });
});
