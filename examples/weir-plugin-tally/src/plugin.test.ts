import type { DialTarget, HandshakeDialer, Logger, Route, StandardSchema } from '@weir/core';
import { RESOLVER_CASES } from '@weir/core/testing';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dialer } from './proxy-v2.ts';
import { resolver } from './spelled.ts';

const nothing = (): void => undefined;
const log: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing, child: () => log };
const context = { name: 'test', log, bypassMark: 0 };
const target: DialTarget = {
  host: 'shop.internal',
  port: 80,
  protocol: 'tcp',
  service: 'web',
  flow: '1',
  source: { address: '192.0.2.1', port: 0x1234 },
  original: { address: '203.0.113.7', port: 80 },
};
const first = (options: object, to: DialTarget = target) => {
  const { send, ...rest } = (dialer.create(options as never, context) as HandshakeDialer).handshake(to).step(new Uint8Array());
  assert.deepEqual(rest, { consumed: 0, done: true });
  return Buffer.from(send ?? []).toString('hex');
};
const issues = async (schema: StandardSchema, value: unknown) => {
  const { issues: found } = await schema['~standard'].validate(value);
  return (found ?? []).map(({ message, path }) => `${String(path?.[0] ?? '')}: ${message.split('\n')[0]}`);
};

test('the header has source and original destination', () => {
  assert.equal(first({}), '0d0a0d0a000d0a515549540a' + '2111000c' + 'c0000201' + 'cb007107' + '1234' + '0050');
});

test('IPv6, and a pair of mixed families', () => {
  const six = { ...target, source: { address: '2001:db8::1', port: 1 }, original: { address: '2001:db8::2', port: 2 } };
  assert.equal(first({}, six).slice(24), '21210024' + '20010db8' + '0'.repeat(23) + '1' + '20010db8' + '0'.repeat(23) + '2' + '00010002');
  const mixed = { ...six, original: { address: '203.0.113.7', port: 2 } };
  assert.match(first({}, mixed), /^.{24}21210024.{32}0{20}ffffcb00710700010002$/);
});

test('the name goes along when it is asked for, and only where there is one', () => {
  assert.match(first({ authority: true }), new RegExp(`^.{24}2111001c.{24}02000d${Buffer.from('shop.internal').toString('hex')}$`));
  assert.match(first({ authority: true }, { ...target, host: '203.0.113.7' }), /^.{24}2111000c/);
});

test('an upstream that speaks first is refused', () => {
  const shake = (dialer.create({} as never, context) as HandshakeDialer).handshake(target);
  assert.throws(() => shake.step(Buffer.from('x')), { code: 'WEIR_DIAL', failure: 'protocol' });
});

test('routes', () => {
  const routes = (options: object) => {
    let published: readonly Route[] = [];
    (dialer.create(options as never, context) as HandshakeDialer).routes(
      { name: 'web', protocols: ['tcp'] },
      (list) => (published = list),
      new AbortController().signal,
    );
    return published;
  };
  assert.deepEqual(routes({ address: '10.0.0.5:8080' }), [{ host: '10.0.0.5', port: 8080 }]);
  assert.deepEqual(routes({ address: '[2001:db8::5]:8080' }), [{ host: '2001:db8::5', port: 8080 }]);
  assert.deepEqual(routes({}), [{}]);
});

test('options are checked', async () => {
  assert.deepEqual(await issues(dialer.options, { address: '10.0.0.5:8080', authority: true }), []);
  for (const address of ['10.0.0.5', '10.0.0.5:0', '10.0.0.5:65536', '::1:80', '[10.0.0.5]:80', 7, null]) {
    assert.deepEqual(await issues(dialer.options, { address }), ['address: "address" is no host and port'], String(address));
  }
  assert.deepEqual(await issues(dialer.options, { adress: 'x', authority: 'yes' }), [
    'adress: unknown key "adress"',
    'authority: "authority" is neither true nor false',
  ]);
  assert.deepEqual(await issues(resolver.options, {}), []);
  assert.deepEqual(await issues(resolver.options, { suffix: '.Example', ttl: 1.5 }), [
    'suffix: "suffix" is no domain',
    'ttl: "ttl" is no number of seconds',
  ]);
});

const ask = (name: string, type = 'A') =>
  resolver.create({} as never, context).answer(
    { name, type, class: 'IN', transport: 'udp', raw: new Uint8Array() },
    { signal: new AbortController().signal },
  );

test('spelled names', async () => {
  const name = 'ip-203-0-113-9.example';
  assert.deepEqual(await ask(name), { records: [{ name, type: 'A', ttl: 60, data: '203.0.113.9' }], authoritative: true });
  assert.deepEqual(await ask(name, 'AAAA'), { records: [], authoritative: true });
  for (const other of ['', 'example', 'ip-203-0-113.example', 'ip-203-0-113-256.example', 'x.ip-203-0-113-9.example', 'ip-203-0-113-9.other']) {
    assert.equal(await ask(other), undefined, other);
  }
});

for (const { name, timeoutMs, run } of RESOLVER_CASES) {
  test(`spelled: ${name}`, { timeout: timeoutMs }, () =>
    run({
      create: () => resolver.create({} as never, context),
      known: { name: 'ip-203-0-113-9.example', type: 'A' },
      unknown: 'somewhere.else',
    }),
  );
}
