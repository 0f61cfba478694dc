/** A large capture set: 10,000 prefixes come by a reload, then one of them becomes another. Weir alone changes sets itself. */
import type { ConfigurationDocument, WeirProcess } from '@weir/core/testing';
import { startWeir, stopWeir } from '../candidates/weir.ts';
import type { Load, Metric } from '../load.ts';
import { manyPrefixes, OTHER_PREFIX } from '../many-prefixes.ts';
import { runScript } from '../script.ts';

const ID = 'prefixes';
const COUNT = 10_000;

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

const metric = (what: string, label: string, digits: number): Metric => ({
  id: `${ID}-${what}`,
  label,
  unit: 'ms',
  better: 'less',
  digits,
});

export const PREFIXES: Load = {
  id: ID,
  quick: false,
  fresh: { rounds: 3 },
  metrics: [
    metric('install', '10,000 prefixes installed', 0),
    metric('change', 'one of 10,000 prefixes changed', 1),
    metric('reload', '10,000 prefixes installed by a reload, file and workers included', 0),
    metric('reload-one', 'one of 10,000 prefixes changed by a reload, file and workers included', 0),
  ],
  missing: () => undefined,
  appliesTo: ({ kind, id }) => kind === 'weir' && id !== 'proxy' && !id.includes('+') && !id.includes('@'),
  async run({ candidate, spare }) {
    const { install, change } = await runScript<{ install: number; change: number }>(
      spare,
      'capture-changes',
      [candidate.id, COUNT],
      60,
    );
    const prefixes = manyPrefixes(COUNT);
    const weir = await startWeir(spare, document(candidate.id, [OTHER_PREFIX]));
    try {
      const reload = await timed(weir, document(candidate.id, prefixes));
      const changes: number[] = [];
      for (let n = 0; n < 5; n++) {
        const one = prefixes.with(1234 + n, OTHER_PREFIX);
        changes.push(await timed(weir, document(candidate.id, one)));
      }
      changes.sort((a, b) => a - b);
      return {
        values: {
          [`${ID}-install`]: install,
          [`${ID}-change`]: change,
          [`${ID}-reload`]: reload,
          [`${ID}-reload-one`]: changes[changes.length >> 1] ?? Number.NaN,
        },
        moved: { flows: 0, bytes: 0 },
      };
    } finally {
      await stopWeir(weir);
    }
  },
};
