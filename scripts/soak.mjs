// npm run soak: the tests again, with the long ones at full length (WEIR_SOAK=1: a million fuzz cases instead of a tenth, a
// kill at every step). Seeds are printed by the tests; WEIR_SEED=N repeats one.
import { spawnSync } from 'node:child_process';
import { environment, main, nodePath, ROOT, setup } from './setup.mjs';

await main(() => {
  setup({ purpose: 'test' });
  const env = { ...environment(), WEIR_SOAK: '1' };
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--testTimeout=1800000', ...process.argv.slice(2)];
  return spawnSync(nodePath(), args, { cwd: ROOT, env, stdio: 'inherit' }).status ?? 1;
});
