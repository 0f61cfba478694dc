/** `weir doctor` for people: what stands where, and that every finding comes with its remedy. */
import { expect, test } from 'vitest';
import { doctorPage } from '../../src/cli/commands/doctor.ts';
import type { DoctorReport } from '../../src/doctor/report.ts';
import { testConsole } from './console.ts';

const REPORT: DoctorReport = {
  owner: 'default',
  usable: true,
  backends: [
    { interceptor: 'nft', priority: 500, transparent: true, verdict: 'supported', detail: 'libnftables', missing: [] },
    {
      interceptor: 'tun',
      priority: 200,
      transparent: true,
      verdict: 'unsupported',
      detail: 'needs /dev/net/tun',
      missing: [{ kind: 'device', name: '/dev/net/tun', remedy: 'Load it (modprobe tun).' }],
    },
  ],
  findings: [
    { check: 'marks', severity: 'ok', what: 'nobody else uses them' },
    { check: 'input', severity: 'problem', what: 'a chain drops', remedy: 'Let it in.', command: 'nft insert …' },
    { check: 'ipv6', severity: 'warning', what: 'IPv6 is off', remedy: 'Switch it on.' },
  ],
};

test('tables first, then what to do, then the sum', () => {
  expect(doctorPage(testConsole().stdout, REPORT)).toBe(`INTERCEPTOR  VERDICT      DETAIL
nft          supported    libnftables
tun          unsupported  needs /dev/net/tun — /dev/net/tun: Load it (modprobe tun).

CHECK  STATE    WHAT
marks  ok       nobody else uses them
input  problem  a chain drops
ipv6   warning  IPv6 is off

input: a chain drops
  Let it in.
    nft insert …

ipv6: IPv6 is off
  Switch it on.

1 problem, 1 warning
`);
});

test('says so where nothing can capture', () => {
  const page = doctorPage(testConsole().stdout, { ...REPORT, usable: false });
  expect(page.trimEnd().split('\n').at(-1)).toBe('no interceptor that captures can run here');
});
