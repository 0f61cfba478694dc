import { describe, expect, test } from 'vitest';
import type { Configuration } from '../../src/config/model.ts';
import { configuration } from '../../src/engine/configuration.ts';
import { difference } from '../../src/engine/reload-scope.ts';

const WEB = { name: 'web', addresses: ['10.0.0.0/8', 'web.internal'], ports: [80], dialer: 'proxy' };
const DB = { name: 'db', addresses: ['2001:db8::/32'], sources: ['10.0.0.0/8'], listen: '127.0.0.1:1' };
const INLINE = { name: 'inline', addresses: ['192.0.2.0/24'], dialer: { type: 'socks5', address: '10.0.0.1:1080' } };
const DIALERS = { proxy: { type: 'socks5', address: '10.0.0.9:1080' } };

function read(services: readonly object[], dialers: object = DIALERS): Promise<Configuration> {
  return configuration({ services, dialers });
}

describe('what a reload changes', () => {
  test('nothing, where the same is written again, in another order', async () => {
    const [before, after] = [await read([WEB, DB, INLINE]), await read([INLINE, DB, WEB])];
    expect(difference(before, after)).toEqual({ added: [], changed: [], removed: [] });
  });

  test.each([
    ['a prefix', { ...WEB, addresses: ['10.0.0.0/9', 'web.internal'] }],
    ['a name', { ...WEB, addresses: ['10.0.0.0/8', 'web.other'] }],
    ['one address more', { ...WEB, addresses: [...WEB.addresses, '192.0.2.1'] }],
    ['a port', { ...WEB, ports: [81] }],
    ['a key that was not there', { ...WEB, listen: '127.0.0.1:2' }],
    ['another dialer', { ...WEB, dialer: 'direct' }],
  ])('%s', async (_, service) => {
    const [before, after] = [await read([WEB, DB]), await read([service, DB])];
    expect(difference(before, after)).toEqual({ added: [], changed: ['web'], removed: [] });
    expect(difference(after, before)).toEqual({ added: [], changed: ['web'], removed: [] });
  });

  test('the dialer that services use, by its name or inside of them', async () => {
    const before = await read([WEB, DB, INLINE]);
    const dialers = { proxy: { type: 'socks5', address: '10.0.0.8:1080' } };
    expect(difference(before, await read([WEB, DB, INLINE], dialers)).changed).toEqual(['web']);
    const other = { ...INLINE, dialer: { ...INLINE.dialer, address: '10.0.0.2:1080' } };
    expect(difference(before, await read([WEB, DB, other])).changed).toEqual(['inline']);
  });

  test('services that come and go', async () => {
    const [before, after] = [await read([WEB, DB]), await read([DB, INLINE])];
    expect(difference(before, after)).toEqual({ added: ['inline'], changed: [], removed: ['web'] });
  });
});
