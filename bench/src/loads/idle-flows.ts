/** What flows cost that do nothing: memory of the candidate's processes beyond what they have without a flow. */
import { descriptorLimit, mostFlows } from '../descriptor-limit.ts';
import type { Load } from '../load.ts';
import { memoryOf } from '../memory.ts';
import { scriptCommand } from '../script.ts';

const ID = 'idle';
/** By the number in the metric's id: how many there are really, where descriptors are limited. */
const COUNTS: ReadonlyArray<readonly [string, number]> = [
  [`${ID}-1000`, 1000],
  [`${ID}-10000`, Math.min(10_000, mostFlows)],
];
/** For buffers to be given back that were needed to set flows up. Milliseconds. */
const SETTLE = 500;
const KIB = 1024;

const label = (count: number) => `memory per idle flow, ${count.toLocaleString('en')} flows`;

export const IDLE_FLOWS: Load = {
  id: ID,
  quick: false,
  fresh: { rounds: 3 },
  metrics: [
    ...COUNTS.map(([id, count]) => ({
      id,
      label: label(count),
      unit: 'KiB',
      better: 'less' as const,
      digits: 2,
    })),
    { id: `${ID}-base`, label: 'memory without a flow', unit: 'MiB', better: 'less', digits: 1 },
  ],
  missing: () => undefined,
  appliesTo: ({ kind }) => kind !== 'none',
  async run({ candidate, spare }) {
    await candidate.prepare(spare);
    const running = await candidate.start(spare);
    const { address, port } = (candidate.entrance?.(spare) ?? spare).http;
    const client = spare.client.spawn([...spare.manyFiles, ...scriptCommand('idle-client', [address, String(port)])]);
    const values: Record<string, number> = {};
    const notes: string[] = [];
    let reached = 0;
    try {
      // One flow comes and goes first, so that what is needed once is part of the base.
      await client.waitFor(/ready/);
      client.stdin.write('1\n');
      await client.waitFor(/holding 1\n/);
      await new Promise((resolve) => setTimeout(resolve, SETTLE));
      const base = memoryOf(running.pids);
      values[`${ID}-base`] = base / KIB / KIB;
      const before = await running.carried();
      for (const [id, count] of COUNTS) {
        client.stdin.write(`${count + 1}\n`);
        await client.waitFor(new RegExp(`holding ${count + 1}\n`), 60_000).catch(() => {});
        if (client.exit !== undefined) {
          const remark = client.stderr.trim();
          notes.push(`${id} of ${candidate.label} is not measured: with ${descriptorLimit} descriptors, ${remark}`);
          break;
        }
        reached = count;
        await new Promise((resolve) => setTimeout(resolve, SETTLE));
        values[id] = (memoryOf(running.pids) - base) / count / KIB;
      }
      const flows = ((await running.carried())?.flows ?? 0) - (before?.flows ?? 0);
      if (flows < reached) throw new Error(`${candidate.label} carried ${flows} of ${reached} flows`);
    } finally {
      client.kill('SIGKILL');
      await client.exited;
      await running.stop();
      await candidate.unprepare(spare);
    }
    return { values, notes, moved: { flows: 0, bytes: 0 } };
  },
};
