import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withBlock, withoutBlock } from '../../src/dns/hosts-block.ts';
import { cleanUpHosts, hostsChange, writeHosts, type HostsPlace } from '../../src/dns/hosts-claim.ts';
import { parseHosts } from '../../src/resolvers/hosts.ts';
import { TemporaryDirectory } from './fixtures.ts';

const ORIGINAL = '127.0.0.1 localhost\n\n# by hand\n192.0.2.7 box # weir is a word\n';
const NAMES = [
  { name: 'web.internal', ipv4: '100.64.0.99', ipv6: 'fd64::99' },
  { name: 'db.internal', ipv4: '100.64.0.98' },
];

let directory: TemporaryDirectory;
let place: HostsPlace;
beforeEach(() => {
  directory = new TemporaryDirectory();
  place = { owner: 'default', stateDirectory: directory.file('state'), path: directory.file('hosts') };
  writeFileSync(place.path, ORIGINAL);
});
afterEach(() => directory[Symbol.dispose]());

const content = () => readFileSync(place.path, 'latin1');
const cleanUp = () => cleanUpHosts(place.owner, place.stateDirectory, place.path);
function change(names = NAMES, owner = 'default') {
  const reports: string[] = [];
  return { ...hostsChange({ ...place, owner, names, report: (line) => reports.push(line) }), reports };
}

describe.each([
  ['that ends as files do', ORIGINAL],
  ['whose last line has no end', ORIGINAL.trimEnd()],
  ['that is empty', ''],
  ['that ends in empty lines', `${ORIGINAL}\n\n`],
  ['with bytes that are no text', `${ORIGINAL}\xff\xfe\n`],
])('a hosts file %s', (_, original) => {
  beforeEach(() => writeFileSync(place.path, Buffer.from(original, 'latin1')));

  test('gets the names, and is byte for byte as it was afterwards', async () => {
    const claim = change();
    await claim.do();
    const hosts = /^(?:100|fd64).*$/gm;
    expect(content().match(hosts)).toEqual([
      '100.64.0.99 web.internal # weir default',
      'fd64::99 web.internal # weir default',
      '100.64.0.98 db.internal # weir default',
    ]);
    expect(content().startsWith(original)).toBe(true);
    await claim.undo();
    expect(content()).toBe(original);
    expect(existsSync(`${place.stateDirectory}/hosts.original`)).toBe(false);
    await claim.undo();
    expect(content()).toBe(original);
  });

  test('is put back without the state directory as well', async () => {
    await change().do();
    rmSync(place.stateDirectory, { recursive: true });
    expect(cleanUp()).toEqual([`took Weir's names out of ${place.path}`]);
    expect(content()).toBe(original);
    expect(cleanUp()).toEqual([]);
  });

  test('is put back from whatever a kill leaves of writing it', async () => {
    await change().do();
    const whole = content();
    const kept = ['hosts.original', 'hosts.written', 'hosts.path'].map((name) => {
      const path = `${place.stateDirectory}/${name}`;
      return [path, readFileSync(path)] as const;
    });
    const recovered = (left: string): string => {
      for (const [path, bytes] of kept) writeFileSync(path, bytes);
      writeFileSync(place.path, Buffer.from(left, 'latin1'));
      cleanUp();
      return content();
    };
    for (let length = original.length; length <= whole.length; length++) {
      expect(recovered(whole.slice(0, length)), `cut at ${length}`).toBe(original);
      const padded = original + '\n'.repeat(length - original.length);
      expect(recovered(padded), `padded to ${length}`).toBe(original);
    }
  });
});

describe('what others have written meanwhile', () => {
  test.each([
    ['before our lines', (text: string) => `192.0.2.1 first\n${text}`, `192.0.2.1 first\n${ORIGINAL}`],
    ['behind them', (text: string) => `${text}192.0.2.2 last\n`, `${ORIGINAL}192.0.2.2 last\n`],
    ['behind them without an end', (text: string) => `${text}192.0.2.2 last`, `${ORIGINAL}192.0.2.2 last`],
    [
      'between them',
      (text: string) => text.replace('fd64::99', '192.0.2.3 between\nfd64::99'),
      `${ORIGINAL}192.0.2.3 between\n`,
    ],
    ['by taking lines away', (text: string) => text.replace(/^.*box.*\n/m, ''), ORIGINAL.replace(/^.*box.*\n/m, '')],
    ['by taking one of ours away', (text: string) => text.replace(/^fd64.*\n/m, ''), ORIGINAL],
  ])('%s is kept', async (_, edit, wanted) => {
    const claim = change();
    await claim.do();
    writeFileSync(place.path, edit(content()));
    await claim.undo();
    expect(content()).toBe(wanted);
    expect(claim.reports).toHaveLength(1);
  });

  test('behind a last line that had no end stays a line of its own', async () => {
    writeFileSync(place.path, ORIGINAL.trimEnd());
    const claim = change();
    await claim.do();
    writeFileSync(place.path, `${content()}192.0.2.2 last\n`);
    await claim.undo();
    expect(content()).toBe(`${ORIGINAL}192.0.2.2 last\n`);
  });

  test('stays when the names change, and afterwards', async () => {
    const claim = change();
    await claim.do();
    writeFileSync(place.path, `192.0.2.1 first\n${content()}`);
    writeHosts({ ...place, names: NAMES.slice(1) });
    expect(content()).toBe(withBlock(`192.0.2.1 first\n${ORIGINAL}`, 'default', NAMES.slice(1)));
    await claim.undo();
    expect(content()).toBe(`192.0.2.1 first\n${ORIGINAL}`);
  });
});

test('two owners have their own lines', async () => {
  const one = change();
  await one.do();
  const stateDirectory = directory.file('other');
  writeHosts({ ...place, owner: 'other', stateDirectory, names: NAMES.slice(1) });
  await one.undo();
  expect(content()).toBe(withBlock(ORIGINAL, 'other', NAMES.slice(1)));
  cleanUpHosts('other', stateDirectory, place.path);
  expect(content()).toBe(ORIGINAL);
});

test('a file that cannot be had is refused with what to do, and nothing is changed', () => {
  rmSync(place.path);
  expect(() => change().do()).toThrow(/does not exist.*resolver\.reach/);
  writeFileSync(`${place.path}.real`, ORIGINAL);
  symlinkSync(`${place.path}.real`, place.path);
  expect(() => change().do()).toThrow(/symbolic link to/);
  expect(readFileSync(`${place.path}.real`, 'latin1')).toBe(ORIGINAL);
});

test('names in our lines say nothing about where they really are', () => {
  const hosts = parseHosts(withBlock(ORIGINAL, 'default', NAMES));
  expect([...hosts.keys()]).toEqual(['localhost', 'box']);
  expect(withoutBlock(ORIGINAL, 'default')).toEqual({ text: ORIGINAL, found: false });
});
