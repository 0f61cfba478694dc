/** How long small requests wait while others move bulk: whether one flow's share is bounded. */
import { bulkBytes } from '../bulk-transfer.ts';
import type { Load } from '../load.ts';
import { wrk, wrkMissing } from '../wrk.ts';

const ID = 'beside-bulk';
const CONNECTIONS = 8;
const STREAMS = 4;
/** Until the streams have found their rate. Milliseconds. */
const LEAD = 400;

export const BESIDE_BULK: Load = {
  id: ID,
  quick: false,
  metrics: [
    { id: `${ID}-p50`, label: 'requests of 64 B beside 4 streams: p50', unit: 'µs', better: 'less', digits: 0 },
    { id: `${ID}-p99`, label: 'requests of 64 B beside 4 streams: p99', unit: 'µs', better: 'less', digits: 0 },
    { id: `${ID}-rate`, label: '4 streams beside requests of 64 B', unit: 'Gbit/s', better: 'more', digits: 2 },
  ],
  missing: wrkMissing,
  appliesTo: () => true,
  async run(stage) {
    const bulk = bulkBytes(stage, { streams: STREAMS, down: true, seconds: stage.seconds + 1 });
    const small = (async () => {
      await new Promise((resolve) => setTimeout(resolve, LEAD));
      return wrk(stage, '/64', CONNECTIONS);
    })();
    const [moved, report] = await Promise.all([bulk, small]);
    return {
      values: { [`${ID}-p50`]: report.p50, [`${ID}-p99`]: report.p99, [`${ID}-rate`]: moved.gigabits },
      moved: { flows: STREAMS + CONNECTIONS, bytes: moved.bytes + report.bytes },
    };
  },
};
