/** Nothing between client and server: what the hosts, the load generators and the kernel can do at all. */
import type { Candidate } from '../candidate.ts';

export const DIRECT: Candidate = {
  id: 'direct',
  label: 'not intercepted',
  kind: 'none',
  udp: true,
  missing: () => undefined,
  version: () => 'no program',
  prepare: async () => {},
  unprepare: async () => {},
  start: async () => ({ pids: [], carried: async () => undefined, stop: async () => {} }),
  firstFlow: () => undefined,
};
