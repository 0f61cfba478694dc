/** What becomes the original when somebody writes a resolv.conf of Weir's, and when. */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { backupPath, cleanUpResolvConf, resolvConfChange } from '../../src/dns/resolv-conf-claim.ts';
import { takeUpAgain, type OverwrittenPlace } from '../../src/dns/resolv-conf-overwritten.ts';
import { TemporaryDirectory } from './fixtures.ts';

const ORIGINAL = 'nameserver 192.0.2.53\nsearch corp.example\n';

let place: Required<OverwrittenPlace>;

const content = (): string => readFileSync(place.path, 'latin1');
const original = (): string => readFileSync(backupPath(place.stateDirectory), 'latin1');
const write = (text: string): void => writeFileSync(place.path, text);

async function claim(before: string): Promise<void> {
  write(before);
  await resolvConfChange({ ...place, report: () => undefined }).do();
}

beforeEach(() => {
  const directory = new TemporaryDirectory();
  onTestFinished(() => directory[Symbol.dispose]());
  place = {
    owner: 'default',
    stateDirectory: directory.file('state'),
    path: directory.file('resolv.conf'),
    nameservers: ['127.0.0.1'],
  };
});
afterEach(() => vi.restoreAllMocks());

test.each([
  ['empty', ''],
  ['begun with a comment only', '# by a DHCP client\n\n'],
])('a file that is %s does not replace the kept original: somebody is about to write it', async (_name, begun) => {
  await claim(ORIGINAL);
  write(begun);
  await expect(takeUpAgain(place)).rejects.toThrow(/is being written by somebody/);
  expect(content()).toBe(begun);
  expect(original()).toBe(ORIGINAL);

  const written = 'nameserver 192.0.2.99\n';
  write(written);
  await takeUpAgain(place);
  expect(original()).toBe(written);
  expect(content()).toMatch(/^nameserver 127\.0\.0\.1$/m);
  cleanUpResolvConf(place);
  expect(content()).toBe(written);
});

test('a file that stays empty was meant to be', async () => {
  await claim(ORIGINAL);
  write('');
  const now = Date.now();
  vi.spyOn(Date, 'now').mockReturnValue(now + 4000);
  await expect(takeUpAgain(place)).rejects.toThrow(/is being written by somebody/);
  vi.spyOn(Date, 'now').mockReturnValue(now + 6000);
  await takeUpAgain(place);
  expect(original()).toBe('');
  cleanUpResolvConf(place);
  expect(content()).toBe('');
});

test('an empty file in place of one that named no server is taken at once', async () => {
  await claim('# nothing yet\n');
  write('');
  await takeUpAgain(place);
  expect(original()).toBe('');
  expect(content()).toMatch(/^nameserver 127\.0\.0\.1$/m);
});
