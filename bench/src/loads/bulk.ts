/** Bulk, and what it costs. */
import { bulkBytes } from '../bulk-transfer.ts';
import { cpuClock } from '../cpu-time.ts';
import type { Load, Metric } from '../load.ts';

const GIB = 2 ** 30;

export function bulk(streams: number, down: boolean): Load {
  const id = `bulk-${down ? 'down' : 'up'}-${streams}`;
  const label = `bulk ${down ? 'down' : 'up'}, ${streams} stream${streams === 1 ? '' : 's'}`;
  const rate: Metric = { id, label, unit: 'Gbit/s', better: 'more', digits: 2 };
  const cpu: Metric = { id: `${id}-cpu`, label: `${label}: CPU`, unit: 's/GiB', better: 'less', digits: 3 };
  const all: Metric = {
    id: `${id}-all-cpu`,
    label: `${label}: CPU with client and server`,
    unit: 's/GiB',
    better: 'less',
    digits: 3,
  };
  return {
    id,
    // One stream down and eight up say most.
    quick: down === (streams === 1),
    metrics: [rate, cpu, all],
    missing: () => undefined,
    appliesTo: () => true,
    async run(stage) {
      const stop = cpuClock(stage.running.pids, stage.serverPids);
      const { bytes, gigabits, cpu: client } = await bulkBytes(stage, { streams, down, seconds: stage.seconds });
      const cost = stop(client);
      const gib = bytes / GIB;
      const values: Record<string, number> = { [id]: gigabits, [all.id]: cost.all / gib };
      if (cost.candidate !== undefined) values[cpu.id] = cost.candidate / gib;
      return { values, moved: { flows: streams, bytes } };
    },
  };
}
