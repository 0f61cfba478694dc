/** UDP at a fixed offered load, there and back. */
import { cpuClock } from '../cpu-time.ts';
import type { Load } from '../load.ts';
import { runScript } from '../script.ts';

const BYTES = 64;
const FLOWS = 16;

/** `rate`: datagrams per second that are sent, whether answers come or not. */
export function datagrams(rate: number): Load {
  const id = `udp-${rate / 1000}k`;
  const label = `UDP, ${rate.toLocaleString('en')} datagrams of ${BYTES} B per second offered`;
  return {
    id,
    quick: false,
    metrics: [
      { id, label: `${label}: came back`, unit: '/s', better: 'more', digits: 0 },
      { id: `${id}-loss`, label: `${label}: lost`, unit: '%', better: 'less', digits: 2 },
      { id: `${id}-cpu`, label: `${label}: CPU`, unit: 'µs each', better: 'less', digits: 1 },
    ],
    missing: () => undefined,
    appliesTo: ({ udp }) => udp,
    async run({ task, seconds, running }) {
      const { address, port } = task.echo;
      const args = [address, port, rate, BYTES, FLOWS, seconds * 1000];
      const stop = cpuClock(running.pids, []);
      const report = await runScript<{ sent: number; received: number; seconds: number }>(
        task,
        'echo-client',
        args,
        seconds,
      );
      const { candidate } = stop();
      const { sent, received } = report;
      return {
        values: {
          [id]: received / report.seconds,
          [`${id}-loss`]: (100 * (sent - received)) / sent,
          ...(candidate === undefined ? {} : { [`${id}-cpu`]: (candidate * 1e6) / Math.max(1, received) }),
        },
        moved: { flows: 0, bytes: received * BYTES },
      };
    },
  };
}
