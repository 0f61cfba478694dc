/**
 * How the tests are run. Three projects, by what a test needs:
 * `unit` needs nothing, `net` makes network namespaces (root or a user namespace), `conventions` reads the sources.
 */
import { defineConfig } from 'vitest/config';

// Tests import packages by name; `source` makes those names mean src/, so that no build is needed.
const conditions = ['source', 'node', 'import', 'module', 'default'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    reporters: ['default', './test/summary-reporter.ts'],
    // For what a test starts itself: threads and child processes inherit these, and then find the sources as well.
    execArgv: ['--conditions=source'],
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
          // Kernel state of one file must not be disturbed by another's load: one file at a time, each in its own process.
          pool: 'forks',
          fileParallelism: false,
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
