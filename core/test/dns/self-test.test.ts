import { writeFileSync } from 'node:fs';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { SelfTestError } from '../../src/api/errors.ts';
import { parsePrefix } from '../../src/capture/address.ts';
import { runSelfTest, selfTestAssignment, selfTestName, type SelfTestInput } from '../../src/dns/self-test.ts';
import { FakeUpstream, freePort, RANGES, responseTo, TemporaryDirectory } from './fixtures.ts';

const open: FakeUpstream[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});
async function fake(react: Parameters<typeof FakeUpstream.open>[0]): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.open(react);
  open.push(upstream);
  return upstream;
}

const expected = selfTestAssignment(selfTestName(), RANGES, [4, 6]);

function run(endpoint: SelfTestInput['listening'][number]['endpoint'], more: Partial<SelfTestInput> = {}) {
  return runSelfTest({
    expected,
    listening: [{ protocol: 'udp', endpoint }],
    resolvConfPath: undefined,
    mark: 0,
    signal: AbortSignal.timeout(10_000),
    ...more,
  });
}

const answering =
  (data: string): Parameters<typeof FakeUpstream.open>[0] =>
  (query, reply) =>
    reply(responseTo(query, { answers: [{ type: 'A', name: expected.name, ttl: 0, data }] }));

test('its names are new each time, below a name of our own, and its addresses belong to no name', () => {
  expect(selfTestName()).toMatch(/^[0-9a-f]{24}\.self-test\.weir\.internal$/);
  expect(selfTestName()).not.toBe(selfTestName());
  expect(expected).toMatchObject({ ipv4: '100.64.0.1', ipv6: 'fd64:7765:6972::1' });
  expect(selfTestAssignment('x', [parsePrefix('10.0.0.8/31')], [4, 6])).toEqual({ name: 'x', ipv4: '10.0.0.8' });
  expect(selfTestAssignment('x', RANGES, [6])).toEqual({ name: 'x', ipv6: 'fd64:7765:6972::1' });
});

describe('the self-test', () => {
  test('passes when the listener gives the expected address', async () => {
    await expect(run((await fake(answering('100.64.0.1'))).endpoint)).resolves.toBeUndefined();
  });

  test.each([
    ['says something else', answering('192.0.2.1'), /it answered NOERROR 192\.0\.2\.1/],
    [
      'refuses',
      ((query, reply) => reply(responseTo(query, { rcode: 5 }))) as ReturnType<typeof answering>,
      /it answered REFUSED/,
    ],
    ['is silent', (() => {}) as ReturnType<typeof answering>, /no answer within/],
  ])('fails in time with the reason when it %s', async (_, react, reason) => {
    const begun = performance.now();
    const failure = await run((await fake(react)).endpoint).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(performance.now() - begun).toBeLessThan(4000);
    expect(failure).toBeInstanceOf(SelfTestError);
    expect(String(failure)).toMatch(reason);
    expect(String(failure)).toMatch(/set resolver\.test: off/);
  });

  test('names the listener that nothing listens on', async () => {
    const port = await freePort();
    await expect(run({ address: '127.0.0.1', port })).rejects.toThrow(
      new RegExp(`udp://127\\.0\\.0\\.1:${port} did not answer.*ECONNREFUSED`),
    );
  });

  test('fails with the reason when the host asks somebody else', async () => {
    const directory = new TemporaryDirectory();
    onTestFinished(() => directory[Symbol.dispose]());
    const path = directory.file('resolv.conf');
    const listener = await fake(answering('100.64.0.1'));
    // 192.0.2.0/24 is for documentation: nobody answers there.
    writeFileSync(path, 'nameserver 192.0.2.254\n');
    await expect(run(listener.endpoint, { resolvConfPath: path, timeoutMs: 600 })).rejects.toThrow(
      /Weir answers for .*, but nameserver 192\.0\.2\.254: .*nsswitch\.conf/,
    );
    writeFileSync(path, '# nothing\n');
    await expect(run(listener.endpoint, { resolvConfPath: path })).rejects.toThrow(/names no server/);
  });

  test('ends when it is aborted', async () => {
    const silent = await fake(() => {});
    await expect(run(silent.endpoint, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      failure: 'aborted',
    });
  });
});
