/** What is wrong with a configuration is said all at once, placed, and with what is allowed. */
import { expect, test } from 'vitest';
import { CAPTURE_CASES } from './capture-fault-cases.ts';
import { CASES } from './fault-cases.ts';
import { faultsOf, FINE, read } from './reading.ts';

test.each([...CASES, ...CAPTURE_CASES])('refuses $what', async ({ text, faults }) => {
  expect(await faultsOf(read(text))).toEqual(faults);
});

test('all faults of a file come in one run, in the order of the file', async () => {
  const text = `owner: "no owner"
interceptor: nftt
timeouts: { idle: 5 }
services:
  - { name: a, addresses: 10.0.0.1/8, ports: 70000, dialer: nobody }
  - { name: a, addresses: x, colour: red }
`;
  const faults = await faultsOf(read(text));
  expect(faults.map((fault) => fault.split('\n')[0])).toEqual([
    'weir.yaml:1:8: "no owner" is not an owner',
    'weir.yaml:2:14: unknown interceptor "nftt" (did you mean "nft"?)',
    'weir.yaml:3:19: the duration "5" has no unit',
    'weir.yaml:5:27: "10.0.0.1/8" has bits set after its prefix length',
    'weir.yaml:5:46: port 70000 is out of range',
    'weir.yaml:5:61: unknown dialer "nobody"',
    'weir.yaml:6:13: the service "a" is there twice',
    'weir.yaml:6:30: unknown key "colour"',
  ]);
});

test('a fault far to the right of a line is placed, and its line left out', async () => {
  const names = Array.from({ length: 40 }, (_, i) => `host-${i}.internal`).join(', ');
  const [fault, ...others] = await faultsOf(read(`services: [{ name: a, addresses: [${names}, a..b] }]\n`));
  expect(fault).toMatch(/^weir\.yaml:1:\d{3}: "a\.\.b" has an empty label\n {4}allowed: web\.internal/);
  expect(others).toEqual([]);
});

test('a deeply nested document is refused and overflows nothing', async () => {
  const [fault] = await faultsOf(read('['.repeat(20_000)));
  expect(fault).toMatch(/the nesting is too deep/);
});

test('aliases that multiply are refused', async () => {
  const levels = Array.from({ length: 9 }, (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(', ')}]`);
  const faults = await faultsOf(read(`l0: &l0 [x]\n${levels.join('\n')}\n${FINE}`));
  expect(faults.join('\n')).toContain('Excessive alias count');
});

test('control characters of a file do not reach the terminal', async () => {
  const [fault] = await faultsOf(read(`${FINE}owner: "\u009b31m"\n`));
  expect(fault).not.toMatch(/\u009b/);
});

test('owners that no chosen interceptor tells apart are refused, with those that can', async () => {
  const capture = 'capture: { only: ["cgroup:/system.slice", "uid:7"] }\n';
  const [fault = '', ...more] = await faultsOf(read(`${FINE}interceptor: proxy\n${capture}`));
  expect(fault).toMatch(/^weir.yaml:3:19: proxy cannot tell processes by control groups: "cgroup:\/system.slice"\n/);
  expect(fault).toMatch(/allowed: with interceptor: nft( or [a-z-]+)*$/);
  expect(more).toHaveLength(1);
  expect(more[0]).toMatch(/cannot tell processes by users: "uid:7"/);
  // The command line chooses another one; one of a list is enough; auto passes over those that cannot.
  await expect(read(`${FINE}${capture}`)).resolves.toBeDefined();
  await expect(read(`${FINE}interceptor: [proxy, nft]\n${capture}`)).resolves.toBeDefined();
  const byFlag = await faultsOf(read(`${FINE}${capture}`, { flags: { interceptor: 'proxy' } }));
  expect(byFlag[0]).toMatch(/proxy cannot tell processes by control groups/);
});
