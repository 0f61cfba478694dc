import { missingFor, requiredGroups, requires, REQUIREMENTS } from '@weir/core/testing';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

describe('requirement groups', () => {
  beforeEach(() => {
    vi.stubEnv('PATH', '/nonexistent');
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  test('have unique names, and an unknown one is an error that lists them', () => {
    const names = REQUIREMENTS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(() => missingFor('nftables')).toThrow(/no requirement group "nftables"; there are .*nft/);
  });

  test('WEIR_REQUIRE is a list of names', () => {
    expect(requiredGroups({ WEIR_REQUIRE: 'nft, root,,' })).toEqual(['nft', 'root']);
    expect(requiredGroups({})).toEqual([]);
  });

  // Answers are kept per process, so these two need a group each that no other test of this file asks about.
  test('what is missing skips, and says why', () => {
    vi.stubEnv('WEIR_REQUIRE', '');
    const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    expect(requires('namespaces')).toBe(true);
    expect(written.mock.calls.join('')).toMatch(/cannot run here, needs namespaces: .*run as root/);
  });

  test('what is missing and required fails', () => {
    vi.stubEnv('WEIR_REQUIRE', 'nft');
    expect(() => requires('nft')).toThrow(/WEIR_REQUIRE names nft, but: .*apt-get install nftables/);
  });
});
