import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import fc from 'fast-check';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { CaptureMeans } from '../../src/dns/reach-capture.ts';
import { resolveReach } from '../../src/dns/reach.ts';
import { waysToResolved } from '../../src/dns/resolved.ts';
import {
  backupPath,
  cleanUpResolvConf,
  resolvConfChange,
  type ResolvConfPlace,
} from '../../src/dns/resolv-conf-claim.ts';
import { authorOf, parseResolvConf, renderResolvConf } from '../../src/dns/resolv-conf.ts';
import { SystemServers } from '../../src/resolvers/system.ts';
import { listenOn, TemporaryDirectory } from './fixtures.ts';

const ORIGINAL =
  '# made by hand\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n; note\nsearch corp.example lan\noptions ndots:2 edns0\n';

let place: Required<ResolvConfPlace>;
let backup: string;
let reports: string[];

function change(nameservers: readonly string[] = ['127.0.0.1'], where: ResolvConfPlace = place) {
  return resolvConfChange({ ...where, nameservers, report: (line) => reports.push(line) });
}

function content(): string {
  return readFileSync(place.path, 'latin1');
}

beforeEach(() => {
  const directory = new TemporaryDirectory();
  onTestFinished(() => directory[Symbol.dispose]());
  place = { owner: 'default', stateDirectory: directory.file('state'), path: directory.file('resolv.conf') };
  backup = backupPath(place.stateDirectory);
  reports = [];
  writeFileSync(place.path, ORIGINAL);
});

describe('resolv.conf', () => {
  test('is read as libc reads it', () => {
    expect(parseResolvConf(ORIGINAL)).toEqual({
      nameservers: ['192.0.2.53', '2001:db8::53'],
      search: ['corp.example', 'lan'],
      options: ['ndots:2', 'edns0'],
    });
    const odd =
      '\tnameserver\t1.1.1.1 # one\n#nameserver 2.2.2.2\nnameserver fe80::1%eth0\nnameserver nonsense\ndomain a\nsearch b c\r\nnameserver 3.3.3.3\nnameserver 4.4.4.4\nnameserver';
    expect(parseResolvConf(odd)).toMatchObject({
      nameservers: ['1.1.1.1', 'fe80::1%eth0', '3.3.3.3'],
      search: ['b', 'c'],
    });
    expect(parseResolvConf('')).toEqual({ nameservers: [], search: [], options: [] });
  });

  test('as Weir writes it names only Weir, keeps search list and options, and says whose it is', () => {
    const text = renderResolvConf(ORIGINAL, ['127.0.0.1', '::1'], 'blue', '/run/weir/backup');
    expect(text).toMatch(/^# weir blue: sha256 [0-9a-f]{64} of what follows; the original is in \/run\/weir\/backup\n/);
    expect(text.split('\n').slice(1)).toEqual([
      'nameserver 127.0.0.1',
      'nameserver ::1',
      'search corp.example lan',
      'options ndots:2 edns0',
      ...ORIGINAL.split('\n').map((line) => `#< ${line}`),
      '',
    ]);
    expect(parseResolvConf(text)).toMatchObject({ nameservers: ['127.0.0.1', '::1'], options: ['ndots:2', 'edns0'] });
    expect(authorOf(text)).toEqual({ owner: 'blue', untouched: true });
    expect(authorOf(`${text}\n\n\n`)).toEqual({ owner: 'blue', untouched: true });
    expect(authorOf(`${text}nameserver 1.1.1.1\n`)).toEqual({ owner: 'blue', untouched: false });
    expect(authorOf(ORIGINAL)).toBeUndefined();
  });
});

describe('claiming the file', () => {
  test('writes in place, keeps mode and inode, and undoes to the same bytes', async () => {
    chmodSync(place.path, 0o640);
    const before = statSync(place.path);
    const claim = change();
    await claim.do();
    expect(content()).toContain('nameserver 127.0.0.1\n');
    expect(readFileSync(backup, 'latin1')).toBe(ORIGINAL);
    await claim.undo();
    const after = statSync(place.path);
    expect(content()).toBe(ORIGINAL);
    expect([after.ino, after.mode, after.uid]).toEqual([before.ino, before.mode, before.uid]);
    expect(existsSync(backup)).toBe(false);
    await claim.undo();
    expect(content()).toBe(ORIGINAL);
    expect(reports).toEqual([`put ${place.path} back as it was`]);
  });

  test('gives any bytes back, longer or shorter than what is written', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
        writeFileSync(place.path, bytes);
        const claim = change();
        await claim.do();
        expect(parseResolvConf(content()).nameservers).toEqual(['127.0.0.1']);
        await claim.undo();
        expect(readFileSync(place.path).equals(Buffer.from(bytes))).toBe(true);
      }),
    );
  });

  test('leaves a foreign edit alone, keeps the original beside it and says so', async () => {
    const claim = change();
    await claim.do();
    writeFileSync(place.path, 'nameserver 10.0.0.1\n');
    await claim.undo();
    expect(content()).toBe('nameserver 10.0.0.1\n');
    expect(readFileSync(`${place.stateDirectory}/resolv.conf.original`, 'latin1')).toBe(ORIGINAL);
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatch(/left .* alone, because it was changed/);
    await claim.undo();
    expect(reports).toHaveLength(1);
  });

  test('takes a line added to its own text for a foreign edit too, and warns that Weir is still named', async () => {
    const claim = change();
    await claim.do();
    appendFileSync(place.path, 'nameserver 10.0.0.1\n');
    const edited = content();
    await claim.undo();
    expect(content()).toBe(edited);
    expect(reports[0]).toMatch(/still names Weir/);
  });

  test('survives a file that was removed meanwhile', async () => {
    const claim = change();
    await claim.do();
    rmSync(place.path);
    await claim.undo();
    expect(existsSync(place.path)).toBe(false);
    expect(reports[0]).toMatch(/left .* alone/);
  });

  test.each([
    [
      'a symbolic link',
      () => {
        writeFileSync(`${place.path}.real`, ORIGINAL);
        rmSync(place.path);
        symlinkSync(`${place.path}.real`, place.path);
      },
      /symbolic link to/,
    ],
    [
      'a directory',
      () => {
        rmSync(place.path);
        mkdirSync(place.path);
      },
      /not a regular file/,
    ],
    ['no file', () => rmSync(place.path), /does not exist/],
    [
      "another owner's",
      () => writeFileSync(place.path, renderResolvConf(ORIGINAL, ['127.0.0.9'], 'other', '/x')),
      /another Weir \(owner other\)/,
    ],
  ])('is refused with reason and remedy for %s, and nothing is changed', (_, spoil, reason) => {
    spoil();
    const claim = change();
    expect(() => claim.do()).toThrow(reason);
    expect(() => claim.do()).toThrow(/resolver\.reach: none/);
    expect(existsSync(backup)).toBe(false);
  });

  test('when the state directory cannot be written leaves the file as it was', () => {
    writeFileSync(place.stateDirectory, 'a file where the directory should be');
    expect(() => change().do()).toThrow(/EEXIST|ENOTDIR|not a directory/);
    expect(content()).toBe(ORIGINAL);
  });
});

describe('after a kill', () => {
  /** The state between any two steps of claim and release, and that clean-up ends in the original from each. */
  function states(original: string): ReadonlyArray<readonly [string, () => void]> {
    const written = () => renderResolvConf(original, ['127.0.0.1'], 'default', backup);
    const keep = () => {
      mkdirSync(place.stateDirectory, { recursive: true });
      writeFileSync(backup, original);
    };
    const pad = (text: string, other: string): string => text + '\n'.repeat(Math.max(0, other.length - text.length));
    return [
      ['before the backup', () => writeFileSync(place.path, original)],
      [
        'while the backup is written',
        () => {
          mkdirSync(place.stateDirectory, { recursive: true });
          writeFileSync(`${backup}.new`, 'half');
          writeFileSync(place.path, original);
        },
      ],
      [
        'after the backup',
        () => {
          keep();
          writeFileSync(place.path, original);
        },
      ],
      [
        'after the write, before the cut',
        () => {
          keep();
          writeFileSync(place.path, pad(written(), original));
        },
      ],
      [
        'claimed',
        () => {
          keep();
          writeFileSync(place.path, written());
        },
      ],
      [
        'after the write back, before the cut',
        () => {
          keep();
          writeFileSync(place.path, pad(original, written()));
        },
      ],
      [
        'after the write back',
        () => {
          keep();
          writeFileSync(place.path, original);
        },
      ],
    ];
  }

  test.each([
    ['short', 'nameserver 192.0.2.1\n'],
    ['long', ORIGINAL.repeat(20)],
    ['empty', ''],
  ])(
    'in any state the original comes back without a journal, and the next run claims it (%s original)',
    async (_, original) => {
      for (const [state, make] of states(original)) {
        make();
        cleanUpResolvConf(place);
        expect(content(), state).toBe(original);
        expect(existsSync(backup), state).toBe(false);
        make();
        const claim = change();
        await claim.do();
        expect(readFileSync(backup, 'latin1'), state).toBe(original);
        await claim.undo();
        expect(content(), state).toBe(original);
      }
    },
  );

  test('the original comes back also when the state directory went with a reboot', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), async (bytes) => {
        writeFileSync(place.path, bytes);
        await change().do();
        rmSync(place.stateDirectory, { recursive: true });
        cleanUpResolvConf(place);
        expect(readFileSync(place.path).equals(Buffer.from(bytes))).toBe(true);
      }),
    );
  });

  test('an original that is gone is said, with what to do', async () => {
    writeFileSync(place.path, ORIGINAL.repeat(200));
    await change().do();
    rmSync(backup);
    expect(() => cleanUpResolvConf(place)).toThrow(/the original in .* is gone.*Write the host's own nameservers/);
  });

  test('another owner touches neither file nor backup', async () => {
    await change().do();
    const written = content();
    expect(cleanUpResolvConf({ ...place, owner: 'other', stateDirectory: `${place.stateDirectory}-other` })).toEqual(
      [],
    );
    expect(content()).toBe(written);
  });

  test('a link put in place of the file is not written through', async () => {
    await change().do();
    const victim = `${place.path}.victim`;
    linkSync(place.path, victim);
    rmSync(place.path);
    symlinkSync(victim, place.path);
    const before = readFileSync(victim, 'latin1');
    expect(cleanUpResolvConf(place)[0]).toMatch(/left .* alone/);
    expect(readFileSync(victim, 'latin1')).toBe(before);
  });
});

describe('the reach', () => {
  const port53 = listenOn(53);
  const decide = (reach: Parameters<typeof resolveReach>[0]['reach'], listening = port53, hasPatterns = false) =>
    resolveReach({ reach, listening, owner: 'default', hasPatterns, resolvConfPath: place.path });

  test('is resolv-conf for auto where a listener is on port 53 and the file can be written', async () => {
    expect(await decide('auto')).toMatchObject({ kind: 'resolv-conf', nameservers: ['127.0.0.1'] });
    const all = [...listenOn(53, '::'), ...listenOn(53, '0.0.0.0'), ...listenOn(53, '10.0.0.9')];
    expect(await decide('resolv-conf', all)).toMatchObject({ nameservers: ['127.0.0.1', '10.0.0.9', '::1'] });
  });

  test('is none for auto otherwise, with the reason', async () => {
    expect(await decide('auto', listenOn(5353))).toEqual({
      kind: 'none',
      reason: expect.stringMatching(/udp port 53 only/),
    });
    rmSync(place.path);
    symlinkSync('/nonexistent', place.path);
    expect(await decide('auto')).toEqual({ kind: 'none', reason: expect.stringMatching(/symbolic link/) });
    rmSync(place.path);
    const missing = expect.stringMatching(/does not exist\. Without it programs ask 127\.0\.0\.1, where the resolver/);
    expect(await decide('auto')).toEqual({ kind: 'none', reason: missing });
    const elsewhere = await decide('auto', listenOn(53, '127.0.0.9'));
    expect(elsewhere.reason).toMatch(/does not exist\.$/);
  });

  test('asked for by name is an error where it cannot be', async () => {
    await expect(decide('resolv-conf', listenOn(5353))).rejects.toThrow(/port 53 only.*Add a listener/);
    const tcp = port53.filter(({ protocol }) => protocol === 'tcp');
    await expect(decide('resolv-conf', tcp)).rejects.toThrow(/port 53 only/);
    await expect(decide('systemd-resolved', tcp)).rejects.toThrow(/asks over UDP/);
    rmSync(place.path);
    await expect(decide('resolv-conf')).rejects.toThrow(/does not exist/);
    await expect(decide({ hosts: place.path })).rejects.toThrow(/does not exist/);
  });

  test('none stays none', async () => expect((await decide('none')).kind).toBe('none'));

  test('of a hosts file has no place for patterns', async () => {
    expect(await decide({ hosts: place.path })).toMatchObject({ kind: 'hosts', path: place.path });
    await expect(decide({ hosts: place.path }, port53, true)).rejects.toThrow(/patterns.*Name each name/);
  });

  const means: CaptureMeans = {
    interceptor: 'nft',
    families: [4, 6],
    output: true,
    ownAddresses: true,
    own: () => ['10.0.0.2'],
    wins: (addresses) => addresses.filter((address) => address !== '10.0.0.66'),
  };
  const byCapture = (reach: 'auto' | 'capture', text: string, changes: Partial<CaptureMeans> = {}) => {
    writeFileSync(place.path, text);
    const capture = { ...means, ...changes };
    return resolveReach({
      reach,
      listening: port53,
      owner: 'default',
      hasPatterns: true,
      resolvConfPath: place.path,
      capture,
    });
  };

  test('is capture for auto where every server can be captured', async () => {
    const both = 'nameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver 10.0.0.1\n';
    expect(await byCapture('auto', both)).toMatchObject({ kind: 'capture', servers: ['10.0.0.1', 'fe80::1'] });
    expect(await byCapture('auto', both, { families: [4] })).toMatchObject({
      kind: 'resolv-conf',
      reason: expect.stringMatching(/fe80::1 is left out: nft captures no UDP of IPv6 here/),
    });
    expect(await byCapture('auto', 'nameserver 127.0.0.11\n')).toMatchObject({
      kind: 'resolv-conf',
      reason: expect.stringMatching(/NAT hides/),
    });
    // Weir's own listener: its queries get here without anything.
    expect(await byCapture('auto', 'nameserver 127.0.0.1\n')).toMatchObject({ kind: 'resolv-conf' });
    for (const changes of [{ families: [] }, { output: false }]) {
      expect(await byCapture('auto', both, changes)).toMatchObject({ kind: 'resolv-conf' });
    }
  });

  test('of capture by name takes what it can and says what it leaves; nothing at all is an error', async () => {
    const mixed = 'nameserver 10.0.0.1\nnameserver 10.0.0.66\nnameserver 10.0.0.2\n';
    expect(await byCapture('capture', mixed, { ownAddresses: false })).toMatchObject({
      servers: ['10.0.0.1'],
      reason: expect.stringMatching(/10\.0\.0\.66 is left out: it is excluded.*10\.0\.0\.2 is left out: nft cannot/),
    });
    await expect(byCapture('capture', 'nameserver 10.0.0.66\n')).rejects.toThrow(/names no server.*10\.0\.0\.66.*Name/);
    await expect(byCapture('capture', '')).rejects.toThrow(/names no server whose port 53 could be captured\./);
    await expect(decide('capture')).rejects.toThrow(/captures no UDP.*Use an interceptor that captures UDP/);
  });
});

describe('programs get to systemd-resolved', () => {
  const nsswitch = () => `${place.path}.nsswitch`;
  const ways = (hosts: string, resolvConf: string | undefined) => {
    writeFileSync(nsswitch(), `passwd: files\nhosts: ${hosts}\n`);
    rmSync(place.path, { force: true });
    if (resolvConf?.startsWith('/') === true) symlinkSync(resolvConf, place.path);
    else if (resolvConf !== undefined) writeFileSync(place.path, resolvConf);
    return waysToResolved(place.path, nsswitch());
  };

  test.each([
    ['files resolve [!UNAVAIL=return] dns', 'nameserver 10.0.0.1\n', /nsswitch/],
    ['files dns', '/run/systemd/resolve/stub-resolv.conf', /kept by systemd-resolved/],
    ['files dns', '/run/systemd/resolve/resolv.conf', /kept by systemd-resolved/],
    ['files dns', 'nameserver 127.0.0.53\n', /names 127\.0\.0\.53/],
  ])('with hosts: %s and %j', (hosts, resolvConf, reason) => expect(ways(hosts, resolvConf)).toMatch(reason));

  test.each([
    ['files dns', 'nameserver 10.0.0.1\n'],
    ['files dns [!UNAVAIL=return] resolve', 'nameserver 10.0.0.1\n'],
    ['files mdns4_minimal [NOTFOUND=return] dns', undefined],
  ])('but not with hosts: %s and %j', (hosts, resolvConf) => expect(ways(hosts, resolvConf)).toBeUndefined());
});

describe('the servers of the system', () => {
  const addresses = (servers: SystemServers) => servers.current().map(({ endpoint }) => endpoint.address);

  test('are those of resolv.conf, read again when it changes, and the original ones while Weir is in their place', async () => {
    const servers = new SystemServers(place);
    expect(addresses(servers)).toEqual(['192.0.2.53', '2001:db8::53']);
    const claim = change();
    await claim.do();
    expect(addresses(servers)).toEqual(['192.0.2.53', '2001:db8::53']);
    writeFileSync(place.path, 'nameserver 10.1.1.1\n');
    expect(addresses(servers)).toEqual(['10.1.1.1']);
    appendFileSync(place.path, 'nameserver 10.1.1.2\n');
    expect(addresses(servers)).toEqual(['10.1.1.1', '10.1.1.2']);
  });

  test('are loopback without a file, as in libc', () => {
    rmSync(place.path);
    expect(addresses(new SystemServers(place))).toEqual(['127.0.0.1']);
  });
});
