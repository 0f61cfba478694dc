/** Which services can have a listener, and where their flows go. */
import { expect, test } from 'vitest';
import { ServiceNumbers } from '../../src/engine/capture-plan.ts';
import { configuration } from '../../src/engine/configuration.ts';
import { listenerFault, serviceListeners } from '../../src/engine/service-listeners.ts';

const LISTEN = '127.0.0.1:9000';

async function of(service: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}) {
  const read = await configuration({ services: [{ name: 's', listen: LISTEN, ...service }], ...more });
  const [only] = read.services;
  return {
    listener: serviceListeners(read, new ServiceNumbers())[0],
    fault: only && listenerFault(only, read.dialers),
  };
}

test.each([
  ['a name', { addresses: 'db.internal', ports: 5432 }, { host: 'db.internal', port: 5432 }],
  ['an IPv4 address', { addresses: '203.0.113.7', ports: 80 }, { host: '203.0.113.7', port: 80 }],
  ['a prefix of full length', { addresses: '203.0.113.7/32', ports: 80 }, { host: '203.0.113.7', port: 80 }],
  ['an IPv6 address', { addresses: '2001:db8::7', ports: 80 }, { host: '2001:db8::7', port: 80 }],
  [
    'a dialer with `to`, whatever the addresses',
    { addresses: ['*.a.internal', '203.0.113.0/24'], dialer: { type: 'direct', to: 'real.example:6432' } },
    { host: 'real.example', port: 6432 },
  ],
  [
    'dialers with `to`, the first',
    {
      addresses: '203.0.113.0/24',
      dialer: [{ type: 'direct', to: '10.0.0.1:1' }, { type: 'direct', to: '10.0.0.2:2' }, 'reset'],
    },
    { host: '10.0.0.1', port: 1 },
  ],
])('the target is %s', async (_what, service, target) => {
  const { listener, fault } = await of(service);
  expect(fault).toBeUndefined();
  expect(listener?.target).toEqual(target);
  expect(listener).toMatchObject({ name: 's', listen: { address: '127.0.0.1', port: 9000 }, protocols: ['tcp'] });
});

test.each([
  ['several addresses', { addresses: ['a.internal', 'b.internal'], ports: 80 }, /more than one address/],
  ['a wildcard', { addresses: '*.internal', ports: 80 }, /more than one address/],
  ['a prefix', { addresses: '203.0.113.0/31', ports: 80 }, /more than one address/],
  ['all ports', { addresses: 'a.internal' }, /more than one port/],
  ['a range of ports', { addresses: 'a.internal', ports: '80-81' }, /more than one port/],
  [
    'a second dialer without `to`',
    { addresses: '203.0.113.0/24', dialer: [{ type: 'direct', to: '10.0.0.1:1' }, 'direct'] },
    /more than one address/,
  ],
])('%s is no single target', async (_what, service, reason) => {
  const { listener, fault } = await of(service);
  expect(fault).toMatch(reason);
  expect(fault).toMatch(/give it one address and one port, or a dialer with `to:`$/);
  expect(listener).toBeUndefined();
});

test('a service that refuses everybody needs no target', async () => {
  const { listener, fault } = await of({ addresses: '203.0.113.0/24', dialer: 'reset' });
  expect(fault).toBeUndefined();
  expect(listener).toBeDefined();
});

test('a service without `listen` has none', async () => {
  const read = await configuration({ services: [{ name: 's', addresses: 'a.internal', ports: 80 }] });
  expect(serviceListeners(read, new ServiceNumbers())).toEqual([]);
});
