/** From starting the program to the answer of the first flow that it carried; in a host where it does not run yet. */
import type { Load } from '../load.ts';
import { scriptCommand } from '../script.ts';

const ID = 'start';

export const START: Load = {
  id: ID,
  quick: true,
  fresh: { rounds: 5 },
  metrics: [{ id: ID, label: 'start to first captured flow', unit: 'ms', better: 'less', digits: 0 }],
  missing: () => undefined,
  appliesTo: (candidate) => candidate.kind !== 'none',
  async run({ candidate, spare }) {
    const target = candidate.firstFlow(spare);
    if (target === undefined) throw new Error(`${candidate.label} has nothing to start`);
    const before = await spare.client.state();
    await candidate.prepare(spare);
    const client = spare.client.spawn(scriptCommand('first-flow', [target.address, String(target.port)]));
    await client.waitFor(/ready/);
    client.stdin.write('go\n');
    const began = process.hrtime.bigint();
    const running = await candidate.start(spare);
    const [, answered = '0'] = await client.waitFor(/answered (\d+)/, 20_000);
    await running.stop();
    await candidate.unprepare(spare);
    if ((await spare.client.state()) !== before) throw new Error(`${candidate.label} left the host changed`);
    return { values: { [ID]: Number(BigInt(answered) - began) / 1e6 }, moved: { flows: 0, bytes: 0 } };
  },
};
