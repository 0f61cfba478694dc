/** What clients are told, seen with dig: types, sizes, letters, zones of Weir's own, and who is asked in which order. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import packet from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { ResolveError } from '../../src/api/errors.ts';
import type { Answer, Question } from '../../src/api/resolver.ts';
import { parsePrefix } from '../../src/capture/address.ts';
import { dig, matcherOf, TemporaryDirectory } from './fixtures.ts';
import { dnsmasq, serviceOf, signal } from './service.ts';

/** Sends a query as it is. */
async function raw(port: number, message: Buffer): Promise<Buffer> {
  const socket = createSocket('udp4');
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.send(message);
  const [response] = (await once(socket, 'message')) as [Buffer];
  socket.close();
  return response;
}

function query(name: string, type: string, more: object = {}): Buffer {
  return packet.encode({ type: 'query', id: 77, flags: 0x0100, questions: [{ name, type, class: 'IN' }], ...more });
}
const opt = (flags = 0) => ({ additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 4096, flags, options: [] }] });

describe('a known name', () => {
  test('has no HTTPS, SVCB or other records that lead past it, and little to say to ANY', async () => {
    const { port } = await serviceOf();
    for (const type of ['TYPE65', 'TYPE64', 'CAA', 'TYPE4711']) {
      expect(await dig(port, 'web.internal', type)).toMatch(/status: NOERROR[^]*ANSWER: 0, AUTHORITY: 1/);
    }
    expect(await dig(port, '_8443._https.web.internal', 'TYPE65')).toMatch(
      /status: NOERROR[^]*ANSWER: 0, AUTHORITY: 1/,
    );
    for (const way of ['+tcp', '+notcp']) {
      expect(await dig(port, way, 'web.internal', 'ANY')).toMatch(/ANSWER: 1,[^]*HINFO\s+"RFC8482" ""/);
    }
  });

  test('is answered for as long as configured', async () => {
    const { port } = await serviceOf({ resolver: { ttl: 7000, keep: 20_000 } });
    expect(await dig(port, 'web.internal', 'A')).toMatch(/web\.internal\.\s+7\s+IN/);
    expect(await dig(port, 'web.internal', 'MX')).toMatch(/SOA\s.*\s7\n/);
  });

  test('is answered at once from the second time on, in the same words, whatever the letters', async () => {
    const { port, service } = await serviceOf();
    for (const [type, more] of [
      ['A', {}],
      ['AAAA', {}],
      ['A', opt()],
      ['A', opt(0x8000)],
      ['AAAA', opt()],
    ] as const) {
      const first = await raw(port, query('web.internal', type, more));
      for (const [id, flags, bits] of [
        [1, 0x0100, 0x8580],
        [65_535, 0x0110, 0x8590],
        [7, 0, 0x8480],
      ] as const) {
        const again = await raw(port, query('web.internal', type, { ...more, id, flags }));
        expect([again.readUInt16BE(0), again.readUInt16BE(2)]).toEqual([id, bits]);
        expect(again.subarray(4)).toEqual(first.subarray(4));
      }
    }
    const mixed = await raw(port, query('wEb.iNterNal', 'A'));
    expect(mixed.toString('latin1')).toContain('wEb\x08iNterNal');
    const { queriesUdp, queriesA, queriesAaaa, answeredAssigned, responsesNoerror } = service.counters();
    expect({ queriesUdp, queriesA, queriesAaaa, answeredAssigned, responsesNoerror }).toEqual({
      queriesUdp: 21,
      queriesA: 13,
      queriesAaaa: 8,
      answeredAssigned: 21,
      responsesNoerror: 21,
    });
    expect(service.status().queries).toEqual([
      { type: 'A', outcome: 'NOERROR', count: 13 },
      { type: 'AAAA', outcome: 'NOERROR', count: 8 },
    ]);
  });

  test('that a reload removes or changes is not answered from memory', async () => {
    const { port, service } = await serviceOf();
    for (let i = 0; i < 3; i++) expect((await raw(port, query('web.internal', 'A'))).readUInt16BE(6)).toBe(1);
    await service.replaceMatcher(matcherOf('other.internal'), ['other.internal']);
    expect((await raw(port, query('web.internal', 'A'))).readUInt16BE(2) & 0xf).toBe(5);
  });

  test('that nobody used for long gives its address back, and gets it again when it is asked for', async () => {
    const released: string[] = [];
    const { port, service } = await serviceOf({
      resolver: { keep: 2500, ttl: 1000 },
      onRelease: (name) => released.push(name),
      namesInUse: () => ['busy.apps.internal'],
    });
    const ask = (name: string) => dig(port, name, 'A', '+short');
    const first = await ask('idle.apps.internal');
    await ask('busy.apps.internal');
    await expect.poll(() => released, { timeout: 10_000 }).toEqual(['idle.apps.internal']);
    expect(service.nameOf(first.trim())).toBeUndefined();
    expect(service.names().map(({ name }) => name)).toEqual(['busy.apps.internal', 'web.internal']);
    expect(await ask('idle.apps.internal')).toBe(first);
    expect(service.counters()).toMatchObject({ released: 1 });
  });
});

describe('the zones of the ranges', () => {
  test('say whose an address is, and nothing of them is asked elsewhere', async () => {
    const { port, announced, service } = await serviceOf({ resolver: { upstreams: [await dnsmasq()] } });
    const { ipv4 = '', ipv6 = '' } = announced[0] ?? {};
    const before = service.counters()['forwarded'];
    expect(await dig(port, '-x', ipv4, '+short')).toBe('web.internal.\n');
    expect(await dig(port, '+tcp', '-x', ipv6, '+short')).toBe('web.internal.\n');
    expect(await dig(port, '-x', ipv4)).toMatch(/flags: qr aa/);
    expect(await dig(port, '-x', '100.64.0.1')).toMatch(/status: NXDOMAIN[^]*SOA/);
    expect(await dig(port, '70.100.in-addr.arpa', 'PTR')).toMatch(/status: NOERROR[^]*ANSWER: 0, AUTHORITY: 1/);
    expect(await dig(port, `${ipv4.split('.').toReversed().join('.')}.in-addr.arpa`, 'TXT')).toMatch(
      /NOERROR[^]*ANSWER: 0/,
    );
    expect(service.counters()).toMatchObject({ forwarded: before, answeredReverse: 6 });
  });

  test('end where the ranges end: what lies around is asked upstream', async () => {
    const { port, service } = await serviceOf({
      resolver: {
        ranges: [parsePrefix('10.9.8.0/22')],
        upstreams: [await dnsmasq('--host-record=outside.example,10.9.12.1', '--host-record=v6.example,2001:db8::1')],
      },
    });
    expect(await dig(port, '-x', '10.9.11.255')).toMatch(/flags: qr aa[^]*/);
    expect(service.counters()['forwarded']).toBe(0);
    expect(await dig(port, '-x', '10.9.12.1', '+short')).toBe('outside.example.\n');
    expect(await dig(port, '-x', '2001:db8::1', '+short')).toBe('v6.example.\n');
    for (const name of [
      '9.10.in-addr.arpa',
      'x.8.9.10.in-addr.arpa',
      '1.2.3.4.5.in-addr.arpa',
      '999.9.9.10.in-addr.arpa',
    ]) {
      await dig(port, name, 'PTR');
    }
    expect(service.counters()).toMatchObject({ forwarded: 6, answeredReverse: 1 });
  });
});

describe('what browsers ask', () => {
  test('whether they may use DNS over HTTPS is denied where the configuration says so', async () => {
    const denying = await serviceOf({ resolver: { dohCanary: true } });
    expect(await dig(denying.port, 'use-application-dns.net', 'A')).toMatch(/status: NXDOMAIN/);
    expect(await dig(denying.port, 'Use-Application-DNS.net', 'AAAA')).toMatch(/status: NXDOMAIN/);
    const silent = await serviceOf({
      resolver: { upstreams: [await dnsmasq('--host-record=use-application-dns.net,192.0.2.1')] },
    });
    expect(await dig(silent.port, 'use-application-dns.net', 'A', '+short')).toBe('192.0.2.1\n');
  });
});

describe('sizes', () => {
  const long = Array.from({ length: 12 }, (_, i) => `--txt-record=long.example,${String(i).repeat(200)}`);

  test('a UDP answer is as long as configured at most, and Weir says so', async () => {
    for (const udpBytes of [512, 1232, 4096]) {
      const { port } = await serviceOf({
        resolver: { udpBytes, upstreams: [await dnsmasq('--edns-packet-max=4096', ...long)] },
      });
      const cut = await dig(port, '+notcp', '+ignore', '+bufsize=4096', 'long.example', 'TXT');
      if (udpBytes < 4096) expect(cut).toMatch(/flags:[^;]* tc[ ;]/);
      else expect(cut).not.toMatch(/flags:[^;]* tc[ ;]/);
      expect(await dig(port, 'web.internal', 'A')).toMatch(new RegExp(`EDNS: version: 0, flags:; udp: ${udpBytes}`));
    }
  });
});

describe('the chain', () => {
  const answering =
    (answer: (question: Question) => Answer | undefined) =>
    async (question: Question): Promise<Answer | undefined> =>
      answer(question);
  const address = (data: string) =>
    answering(({ name, type }) => (type === 'A' ? { records: [{ name, type, ttl: 5, data }] } : undefined));

  test('asks plugins by priority among the built-in ones', async () => {
    const resolvers = [
      { id: 'late', priority: 50, resolver: { answer: address('192.0.2.50') } },
      {
        id: 'early',
        priority: 600,
        resolver: { answer: answering(({ name }) => (name === 'early.apps.internal' ? { records: [] } : undefined)) },
      },
      { id: 'middle', priority: 450, resolver: { answer: address('192.0.2.45') } },
    ];
    const { port, service } = await serviceOf({ resolvers });
    for (let i = 0; i < 3; i++) {
      expect(await dig(port, 'x.apps.internal', 'A', '+short')).toMatch(/^100\./);
      expect(await dig(port, 'early.apps.internal', 'A')).toMatch(/status: NOERROR[^]*ANSWER: 0/);
    }
    expect(await dig(port, 'www.example', 'A', '+short')).toBe('192.0.2.45\n');
    expect(await service.query('www.example', 'a', signal)).toMatchObject({
      resolver: 'middle',
      type: 'A',
      outcome: 'NOERROR',
    });
    expect(await service.query('early.apps.internal', 'A', signal)).toMatchObject({ resolver: 'early', answers: [] });
  });

  test('is ended by a resolver that says so, and survives one that fails or hangs', async () => {
    let closed = 0;
    const failing = (what: () => Promise<Answer | undefined>) => [
      { id: 'bad', priority: 450, resolver: { answer: what, close: async () => void closed++ } },
    ];
    const ends = await serviceOf({
      resolvers: failing(() => Promise.reject(new ResolveError('NXDOMAIN', { problem: 'No.', remedy: 'None.' }))),
    });
    expect(await dig(ends.port, 'www.example', 'A')).toMatch(/status: NXDOMAIN/);
    const throws = await serviceOf({
      resolvers: failing(() => {
        throw new TypeError('a bug');
      }),
    });
    expect(await dig(throws.port, 'www.example', 'A')).toMatch(/status: SERVFAIL/);
    expect(await dig(throws.port, 'web.internal', 'A')).toMatch(/status: NOERROR/);
    expect(throws.service.counters()).toMatchObject({ resolverErrors: 1 });
    const hangs = await serviceOf({ resolvers: failing(() => new Promise(() => {})) });
    expect(await dig(hangs.port, '+time=9', 'www.example', 'A')).toMatch(/status: SERVFAIL/);
    await hangs.service.stop();
    expect(closed).toBe(1);
  });

  test('may give a message as it is, but only for the question that was asked', async () => {
    const answer = async (question: Question): Promise<Answer> => {
      const response = Buffer.from(question.raw);
      response.writeUInt16BE(0x8183, 2);
      if (question.name.startsWith('wrong')) response[13] = (response[13] as number) ^ 1;
      return { raw: response.subarray(0, response.length) };
    };
    const { port, service } = await serviceOf({ resolvers: [{ id: 'raw', priority: 300, resolver: { answer } }] });
    expect(await dig(port, '+noedns', 'right.example', 'A')).toMatch(/status: NXDOMAIN/);
    expect(await dig(port, '+noedns', 'wrong.example', 'A')).toMatch(/status: SERVFAIL/);
    expect(service.counters()).toMatchObject({ resolverErrors: 1 });
  });
});

describe('what a client would be told', () => {
  test('is reported with who says it', async () => {
    const upstream = await dnsmasq(
      '--mx-host=real.example,mail.example,10',
      '--srv-host=_x._tcp.example,srv.example,5,1,2',
      '--cname=alias.example,real.example',
    );
    const { service } = await serviceOf({ resolver: { upstreams: [upstream] }, hosts: '192.0.2.7 box\n' });
    const ask = async (name: string, type = 'A') => {
      const { resolver, outcome, answers, authority } = await service.query(name, type, signal);
      return [
        resolver,
        outcome,
        ...answers.map((one) => `${one.type} ${one.data}`),
        ...authority.map((one) => one.type),
      ].join(' ');
    };
    expect(await ask('web.internal', 'aaaa')).toMatch(/^assigned NOERROR AAAA fd64:/);
    expect(await ask('web.internal', 'MX')).toBe('assigned NOERROR SOA');
    expect(await ask('box')).toBe('hosts NOERROR A 192.0.2.7');
    expect(await ask('1.0.64.100.in-addr.arpa', 'PTR')).toBe('reverse NXDOMAIN SOA');
    expect(await ask('alias.example')).toBe('upstream NOERROR CNAME real.example A 192.0.2.80');
    expect(await ask('real.example', 'TXT')).toBe('upstream NOERROR TXT "hello"');
    expect(await ask('real.example', 'MX')).toBe('upstream NOERROR MX 10 mail.example');
    expect(await ask('_x._tcp.example', 'SRV')).toBe('upstream NOERROR SRV 1 2 5 srv.example');
    expect(await ask('nowhere.example')).toMatch(/^upstream NXDOMAIN/);
    await expect(ask('web.internal', 'NOTYPE')).rejects.toMatchObject({ code: 'WEIR_USAGE' });
    await expect(ask('a..b')).rejects.toThrow(/empty label/);
    for (const address of await Promise.all(['A', 'AAAA'].map((type) => ask('web.internal', type)))) {
      expect(await ask(address.split(' ').at(-1) ?? '')).toBe('reverse NOERROR PTR web.internal');
    }
  });
});

test('addresses survive a restart, also of names that only a pattern wants', async () => {
  const directory = new TemporaryDirectory();
  const nameMapPath = directory.file('map/default');
  const first = await serviceOf({ nameMapPath });
  const asked = ['b.apps.internal', 'a.apps.internal'];
  for (const name of asked) await dig(first.port, name, 'A');
  const before = first.service.names().map(({ name, ipv4, ipv6 }) => ({ name, ipv4, ipv6 }));
  expect(first.service.status().map).toBe(nameMapPath);
  await first.service.stop();
  const second = await serviceOf({ nameMapPath });
  expect(second.service.names().map(({ name, ipv4, ipv6 }) => ({ name, ipv4, ipv6 }))).toEqual(before);
  // All of them were announced before anybody asked, so that flows to them are known.
  expect(second.announced.map(({ name }) => name).toSorted()).toEqual([...asked, 'web.internal'].toSorted());
  await second.service.stop();
  // A name that no service wants any more is known all the same.
  const third = await serviceOf({ nameMapPath, matcher: matcherOf('web.internal') });
  expect(third.announced.find(({ name }) => name === 'a.apps.internal')).toMatchObject({ patternIndex: -1 });
  await third.service.stop();
  const off = await serviceOf({ nameMapPath, resolver: { map: 'off' } });
  expect(off.service.names()).toHaveLength(1);
  directory[Symbol.dispose]();
});
