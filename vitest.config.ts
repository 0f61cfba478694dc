/**
 * How the tests are run. Projects by what a test needs: `unit` needs nothing, `net` makes network namespaces (root or a user
 * namespace), `alone` too and the whole machine with them, `conventions` reads the sources.
 */
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// Tests import packages by name; `source` makes those names mean src/, so that no build is needed.
const conditions = ['source', 'node', 'import', 'module', 'default'];

/**
 * What counts losses, system calls or memory under load: another file beside it would be in the figures. And what packs the
 * packages, in one place.
 */
const ALONE = [
  'test/bench/**/*.net.test.ts',
  'test/docs/**/*.net.test.ts',
  'test/guard/**/*.net.test.ts',
  'test/soak/**/*.net.test.ts',
  'test/e2e/{limits,load,socks5,socks5-udp,udp-users}.net.test.ts',
];

/** Real time and a machine that others use too: a second attempt, which the summary names. The soak has none. */
const retry = process.env['WEIR_SOAK'] === '1' ? 0 : 1;

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    reporters: ['default', './test/summary-reporter.ts'],
    // For what a test starts itself: threads and child processes inherit these, and then find the sources as well.
    execArgv: ['--conditions=source'],
    // A condition that comes late is no failure: a second is not much where three files share two processors.
    expect: { poll: { timeout: 15_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: [
            'core/test/**/*.test.ts',
            'plugins/*/test/**/*.test.ts',
            'bench/test/**/*.test.ts',
            'test/**/*.test.ts',
          ],
          exclude: ['**/*.net.test.ts', 'test/conventions/**', '**/node_modules/**'],
          pool: 'threads',
          testTimeout: 20_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'net',
          include: ['core/test/**/*.net.test.ts', 'plugins/*/test/**/*.net.test.ts', 'test/**/*.net.test.ts'],
          exclude: [...ALONE, '**/node_modules/**'],
          // Each in its own process, for it joins network namespaces. One more than there are processors: they wait a lot.
          pool: 'forks',
          maxWorkers: Math.min(4, availableParallelism() + 1),
          sequence: { groupOrder: 1 },
          retry,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ALONE,
          pool: 'forks',
          fileParallelism: false,
          sequence: { groupOrder: 2 },
          retry,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: { name: 'conventions', include: ['test/conventions/**/*.test.ts'], pool: 'threads' },
      },
    ],
  },
});
