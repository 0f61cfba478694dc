import { ownSources } from '@weir/core';
import { describe, expect, test } from 'vitest';
import { ebpfSklookup } from '../src/index.ts';
import { deviceName } from '../src/anchor.ts';

const validate = (value: unknown) => ebpfSklookup.options['~standard'].validate(value);

describe('options', () => {
  test('none are needed, and source addresses may be given', () => {
    for (const value of [undefined, null, {}]) expect(validate(value)).toEqual({ value: {} });
    const given = { 'source-ipv4': '10.255.0.1', 'source-ipv6': 'fd00:5::1' };
    expect(validate(given)).toEqual({ value: given });
  });

  test('all faults are named by their key', () => {
    const faults = { 'source-ipv4': '::1', 'source-ipv6': '10.0.0.1', source: 'x' };
    const { issues = [] } = validate(faults) as { issues?: ReadonlyArray<{ path?: unknown; message: string }> };
    expect(issues.map(({ path }) => path)).toEqual([['source-ipv4'], ['source-ipv6'], ['source']]);
    expect(issues[2]?.message).toContain('source-ipv4, source-ipv6');
  });

  test('addresses that cannot be a source are refused', () => {
    for (const address of ['127.0.0.1', '0.0.0.0', '224.0.0.1', '255.255.255.255', 'x', '10.0.0.1/8', 7]) {
      expect(validate({ 'source-ipv4': address }), String(address)).toHaveProperty('issues');
    }
    for (const address of ['::1', '::', 'fe80::1', 'ff02::1', 'fd00::1%eth0']) {
      expect(validate({ 'source-ipv6': address }), address).toHaveProperty('issues');
    }
  });

  test('anything but a mapping is refused', () => {
    for (const value of ['x', 1, [], true]) expect(validate(value)).toHaveProperty('issues');
  });
});

describe('what tells owners apart', () => {
  test('each slot has a device and source addresses of its own', () => {
    const slots = Array.from({ length: 16 }, (_, slot) => ({ slot }));
    expect(new Set(slots.map(deviceName)).size).toBe(16);
    expect(Math.max(...slots.map((slot) => deviceName(slot).length))).toBeLessThan(16);
    expect(new Set(slots.map((slot) => ownSources(slot, {})[4])).size).toBe(16);
    expect(new Set(slots.map((slot) => ownSources(slot, {})[6])).size).toBe(16);
    expect(ownSources({ slot: 0 }, {})).toEqual({ 4: '169.254.84.1', 6: 'fd64:7765:6972:ffff::1' });
    expect(ownSources({ slot: 3 }, { 'source-ipv4': '10.9.9.9' })).toEqual({
      4: '10.9.9.9',
      6: 'fd64:7765:6972:ffff::4',
    });
  });
});
