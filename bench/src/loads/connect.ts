/** How long a new connection takes while nothing else is under way. */
import type { Load } from '../load.ts';
import { runScript } from '../script.ts';

const ID = 'connect';
const metric = (id: string, label: string) => ({ id, label, unit: 'µs', better: 'less' as const, digits: 0 });

interface Report {
  readonly connections: number;
  readonly connectP50: number;
  readonly connectP99: number;
  readonly answerP50: number;
  readonly answerP99: number;
}

export const CONNECT: Load = {
  id: ID,
  quick: false,
  metrics: [
    metric(`${ID}-p50`, 'connect(): p50'),
    metric(`${ID}-p99`, 'connect(): p99'),
    metric(`${ID}-answer-p50`, 'connect to first byte of the answer: p50'),
    metric(`${ID}-answer-p99`, 'connect to first byte of the answer: p99'),
  ],
  missing: () => undefined,
  appliesTo: () => true,
  async run({ task, seconds }) {
    const { address, port } = task.http;
    const report = await runScript<Report>(task, 'connect-client', [address, port, seconds * 1000], seconds);
    return {
      values: {
        [`${ID}-p50`]: report.connectP50,
        [`${ID}-p99`]: report.connectP99,
        [`${ID}-answer-p50`]: report.answerP50,
        [`${ID}-answer-p99`]: report.answerP99,
      },
      moved: { flows: report.connections, bytes: report.connections * 64 },
    };
  },
};
