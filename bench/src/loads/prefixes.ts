/** A large capture set: 10,000 prefixes come by a reload, then one of them becomes another. Weir alone changes sets itself. */
import type { WeirProcess } from '@weir/core/testing';
import type { ConfigurationDocument } from '@weir/core/testing';
import type { Load } from '../load.ts';
import { startWeir, stopWeir } from '../candidates/weir.ts';

const ID = 'prefixes';
const COUNT = 10_000;

/** Every other /24 from 20.0.0.0 on, so that none can be joined with its neighbour. */
const prefix = (n: number) => `20.${n >> 7}.${(n & 127) * 2}.0/24`;
/** In nobody's way. */
const OTHER = '198.18.7.0/24';

const document = (interceptor: string, addresses: readonly string[]): ConfigurationDocument => ({
  interceptor,
  owner: 'prefixes',
  log: { level: 'warn', format: 'json', flows: 'off' },
  services: [{ name: 'many', addresses, ports: [80, 443], dialer: 'direct' }],
});

async function timed(weir: WeirProcess, config: ConfigurationDocument): Promise<number> {
  const begun = performance.now();
  await weir.reload(config);
  return performance.now() - begun;
}

export const PREFIXES: Load = {
  id: ID,
  quick: false,
  fresh: { rounds: 3 },
  metrics: [
    { id: `${ID}-install`, label: '10,000 prefixes installed by a reload', unit: 'ms', better: 'less', digits: 0 },
    { id: `${ID}-change`, label: 'one of 10,000 prefixes changed by a reload', unit: 'ms', better: 'less', digits: 1 },
  ],
  missing: () => undefined,
  appliesTo: ({ kind, id }) => kind === 'weir' && id !== 'proxy' && !id.includes('+') && !id.includes('@'),
  async run({ candidate, spare }) {
    const prefixes = Array.from({ length: COUNT }, (_, n) => prefix(n));
    const weir = await startWeir(spare, document(candidate.id, [OTHER]));
    try {
      const install = await timed(weir, document(candidate.id, prefixes));
      const changes: number[] = [];
      for (let n = 0; n < 5; n++) {
        const one = prefixes.with(1234 + n, OTHER);
        changes.push(await timed(weir, document(candidate.id, one)));
      }
      changes.sort((a, b) => a - b);
      return {
        values: { [`${ID}-install`]: install, [`${ID}-change`]: changes[2] ?? Number.NaN },
        moved: { flows: 0, bytes: 0 },
      };
    } finally {
      await stopWeir(weir);
    }
  },
};
