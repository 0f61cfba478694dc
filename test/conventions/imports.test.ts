import { describe, expect, test } from 'vitest';
import { violationsOf } from './import-rules.ts';
import { codeFiles, importsOf } from './sources.ts';

test('every import keeps the direction of dependencies', () => {
  const files = codeFiles();
  expect(files.length).toBeGreaterThan(40);
  const lines = files
    .flatMap(violationsOf)
    .map(({ file, specifier, reason }) => `${file} imports ${specifier}: ${reason}`);
  expect(lines).toEqual([]);
});

describe('the rules themselves', () => {
  const reasons = (path: string, specifier: string) =>
    violationsOf({ path, text: `import { x } from '${specifier}';` });

  test('find each kind of import', () => {
    const text = [
      "import { a } from 'one';",
      "import type { b } from 'two';",
      "import 'three';",
      'export {\n  c,\n} from "four";',
      "export * as d from 'five';",
      "const e = await import('six');",
      "const f = 'no import from here';",
    ].join('\n');
    expect(importsOf({ path: 'x.ts', text })).toEqual(['one', 'two', 'three', 'four', 'five', 'six']);
  });

  test.each([
    ['core/src/api/flow.ts', '../capture/address.ts'],
    ['core/src/sys/libc.ts', '../engine/engine.ts'],
    ['core/src/dataplane/worker.ts', '../dns/server.ts'],
    ['core/src/engine/engine.ts', '../cli/program.ts'],
    ['core/src/engine/engine.ts', '../testing/netns.ts'],
    ['core/src/engine/engine.ts', '@weir/nft'],
    ['core/src/newcomer/x.ts', '../sys/libc.ts'],
    ['core/src/dns/server.ts', '../index.ts'],
    ['core/src/dns/server.ts', './zone'],
    ['core/src/dns/server.ts', '../../test/fixture.ts'],
    ['core/src/engine/engine.ts', 'koffi'],
    ['core/src/cli/commands/run.ts', 'commander'],
    ['core/src/engine/engine.ts', 'zod'],
    ['core/src/testing/netns.ts', 'vitest'],
    ['plugins/nft/src/plan.ts', '../../tun/src/plan.ts'],
    ['plugins/nft/src/plan.ts', '@weir/tun'],
    ['plugins/nft/src/plan.ts', '@weir/core/testing'],
    ['plugins/nft/src/plan.ts', '@weir/core/dist/engine.js'],
    ['test/e2e/x.test.ts', '../../core/src/engine/engine.ts'],
  ])('%s may not import %s', (path, specifier) => {
    expect(reasons(path, specifier)).toHaveLength(1);
  });

  test.each([
    ['core/src/api/flow.ts', './errors.ts'],
    ['core/src/engine/engine.ts', '../registry/container.ts'],
    ['core/src/cli/program.ts', 'commander'],
    ['core/src/config/schema.ts', 'zod'],
    ['core/src/dialers/direct-options.ts', 'zod'],
    ['plugins/nft/src/options.ts', 'zod'],
    ['plugins/nft/src/plan.ts', '@weir/core/sys'],
    ['plugins/nft/test/plan.test.ts', '@weir/core/testing'],
    ['core/test/dns/server.test.ts', '../../src/dns/server.ts'],
    ['core/src/testing/peers.ts', './test-host.ts'],
  ])('%s may import %s', (path, specifier) => {
    expect(reasons(path, specifier)).toEqual([]);
  });
});
