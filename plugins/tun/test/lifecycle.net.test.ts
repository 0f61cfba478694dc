// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
/** What core may rely on when it calls the hooks, and what becomes of flows when they are called. */
import { HeldTable, type InterceptorDefinition } from '@weir/core';
import { enterFreshNamespace, HOOK_CASES, InterceptorInstance, requires, shell } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { tun } from '../src/index.ts';
import { probe } from '../src/probe.ts';

const definition = tun as InterceptorDefinition<never>;

describe.skipIf(requires('namespaces', 'tun', 'ipv6'))('the hooks of tun', () => {
  for (const { name, timeoutMs, run } of HOOK_CASES) {
    test(name, { timeout: timeoutMs }, () => run({ definition }));
  }

  test('another MTU, other addresses and another handshake change nothing of that', { timeout: 30_000 }, async () => {
    const options = {
      mtu: 1500,
      'source-ipv4': '192.168.250.1',
      'nat-ipv4': '192.168.251.16',
      'nat-addresses': 2,
      handshake: 'deferred',
    };
    const foretold = HOOK_CASES.find(({ name }) => name.startsWith('provision asks'));
    const back = HOOK_CASES.find(({ name }) => name.startsWith('after start'));
    for (const each of [foretold, back]) await each?.run({ definition, options });
    expect([foretold, back]).not.toContain(undefined);
  });

  test('once it has stopped nobody wakes it any more: its descriptor may be another one by then', async () => {
    enterFreshNamespace({ uplink: true });
    await using instance = new InterceptorInstance(definition, { handshake: 'deferred' });
    const specs = await instance.provision(new AbortController().signal);
    const tables = specs.flatMap(({ original }) =>
      original.via === 'nat-table' && original.held !== undefined ? [new HeldTable(original.held)] : [],
    );
    expect(tables.map(({ wake }) => wake >= 0)).toEqual([true, true]);
    await instance.interceptor.stop();
    expect(tables.map(({ wake }) => wake)).toEqual([-1, -1]);
  });

  test('ip takes what the plan says, and then has what start makes', { timeout: 30_000 }, async () => {
    const services = [{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], port: 443 }];
    const signal = new AbortController().signal;
    // What hangs on nothing but its text: rules, routes, addresses; without what a reader on the device changes.
    const listed = () =>
      shell(`ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; ip -o address show dev weirtun0`)
        .replaceAll(/ linkdown| \\?\s*valid_lft.*/g, '')
        .replaceAll(/^\d+: weirtun0/gm, 'weirtun0')
        .replaceAll(/ +$/gm, '');
    enterFreshNamespace({ uplink: true });
    await using instance = new InterceptorInstance(definition);
    await instance.provision(signal);
    const input = instance.input(services);
    const { steps } = definition.plan(input, {} as never);
    await instance.interceptor.start(input, signal);
    const made = listed();
    await instance.interceptor.stop();
    enterFreshNamespace({ uplink: true });
    for (const { tool, text } of steps) shell(`${tool} -batch -`, text);
    await expect.poll(listed).toBe(made);
  });
});

test('WEIR_TUN=off hides it, with the way to get it back', () => {
  expect(probe({ WEIR_TUN: 'off' })).toEqual({
    verdict: 'unsupported',
    missing: [{ kind: 'config', name: 'WEIR_TUN=off', remedy: expect.stringContaining('Unset WEIR_TUN') as string }],
  });
});
