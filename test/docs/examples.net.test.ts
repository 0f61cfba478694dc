/** Plugins that strangers wrote, from the documentation alone: their own tests, against the packed packages. */
import { requires } from '@weir/core/testing';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DocumentedPlace } from './place.ts';

const run = promisify(execFile);

describe.skipIf(requires('namespaces', 'nft', 'ipv6', 'curl'))('examples/weir-plugin-tally', () => {
  let place: DocumentedPlace;
  beforeAll(() => {
    place = new DocumentedPlace('examples/weir-plugin-tally');
  }, 120_000);
  afterAll(() => place?.[Symbol.dispose]());

  test.each(['plugin', 'traffic', 'contract'])('%s', { timeout: 120_000 }, async (name) => {
    const reporter = '--test-reporter=spec';
    // vitest's own conditions would lead to the sources, which are not in the packages.
    const env = { ...process.env, NODE_OPTIONS: '' };
    const { stdout } = await run(process.execPath, ['--test', reporter, place.path(`dist/${name}.test.js`)], { env });
    expect(stdout).toMatch(/^ℹ pass [1-9]\d*$/m);
    expect(stdout).toMatch(/^ℹ fail 0$/m);
  });
});
