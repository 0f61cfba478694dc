/** Bulk by iperf3, and what it costs the candidate. The sender uses sendfile, so that it is not the bottleneck. */
import { missingFor } from '@weir/core/testing';
import { cpuClock } from '../cpu-time.ts';
import type { Load, Metric, Stage } from '../load.ts';

const GIB = 2 ** 30;

interface Iperf {
  readonly error?: string;
  readonly end?: { readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number } };
}

async function iperf(stage: Stage, streams: number, down: boolean): Promise<{ bytes: number; gigabits: number }> {
  const { address, port } = stage.iperf;
  const argv = ['iperf3', '-J', '-Z', '-c', address, '-p', String(port), '-t', String(stage.seconds)];
  if (streams > 1) argv.push('-P', String(streams));
  if (down) argv.push('-R');
  for (let attempt = 1; ; attempt++) {
    const { stdout, stderr } = await stage.task.client.run(argv, { timeoutMs: 20_000 + stage.seconds * 1000 });
    const report = JSON.parse(stdout) as Iperf;
    const received = report.end?.sum_received;
    if (report.error === undefined && received !== undefined) {
      return { bytes: received.bytes, gigabits: received.bits_per_second / 1e9 };
    }
    // The server takes one test at a time and needs a moment after the last one.
    if (attempt === 20 || !/busy/.test(report.error ?? '')) throw new Error(`iperf3: ${report.error ?? stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

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
    quick: true,
    metrics: [rate, cpu, all],
    missing: () => missingFor('iperf3'),
    appliesTo: () => true,
    async run(stage) {
      const stop = cpuClock(stage.running.pids, stage.serverPids);
      const { bytes, gigabits } = await iperf(stage, streams, down);
      const cost = stop();
      const gib = bytes / GIB;
      const values: Record<string, number> = { [id]: gigabits, [all.id]: cost.all / gib };
      if (cost.candidate !== undefined) values[cpu.id] = cost.candidate / gib;
      return { values, moved: { flows: streams + 1, bytes } };
    },
  };
}
