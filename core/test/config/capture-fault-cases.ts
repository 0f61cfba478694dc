/** Faults of `capture`, each with the exact text that an operator is shown. */
import type { Case } from './fault-cases.ts';
import { FINE } from './reading.ts';

export const CAPTURE_CASES: readonly Case[] = [
  {
    what: 'forwarded traffic without interfaces',
    text: `${FINE}capture: { scopes: [output, forward] }\n`,
    faults: [
      `weir.yaml:2:20: forwarded traffic is to be captured, and no interface is named by which it enters\n   2 | capture: { scopes: [output, forward] }\n     |                    ^ allowed: capture.forward.interfaces with at least one name as well: [eth1]`,
    ],
  },
  {
    what: 'interfaces without forwarded traffic',
    text: `${FINE}capture: { forward: { interfaces: [eth1] } }\n`,
    faults: [
      `weir.yaml:2:36: interfaces are named, and capture.scopes has no forward\n   2 | capture: { forward: { interfaces: [eth1] } }\n     |                                    ^ allowed: forward among capture.scopes`,
    ],
  },
  {
    what: 'processes of forwarded traffic',
    text: `${FINE}capture: { scopes: forward, forward: { interfaces: eth1 }, only: "uid:7" }\n`,
    faults: [
      `weir.yaml:2:66: processes are chosen, and only forwarded traffic is captured, which no process of this host sends\n   2 | capture: { scopes: forward, forward: { interfaces: eth1 }, only: "uid:7" }\n     |                                                                  ^ allowed: output among capture.scopes`,
    ],
  },
  {
    what: 'an interface whose name would be more than a name',
    text: `${FINE}capture: { scopes: forward, forward: { interfaces: "eth*" } }\n`,
    faults: [
      `weir.yaml:2:52: "eth*" is not an interface\n   2 | capture: { scopes: forward, forward: { interfaces: "eth*" } }\n     |                                                    ^ allowed: a name of at most 15 characters: eth1`,
    ],
  },
  {
    what: 'a control group that is none',
    text: `${FINE}capture: { only: ["cgroup:/", "cgroup:/a/../b"] }\n`,
    faults: [
      `weir.yaml:2:19: "cgroup:/" names no process owner\n   2 | capture: { only: ["cgroup:/", "cgroup:/a/../b"] }\n     |                   ^ allowed: uid:1000, uid:1000-1999, gid:33 or cgroup:/path`,
      `weir.yaml:2:31: "cgroup:/a/../b" names no process owner\n   2 | capture: { only: ["cgroup:/", "cgroup:/a/../b"] }\n     |                               ^ allowed: uid:1000, uid:1000-1999, gid:33 or cgroup:/path`,
    ],
  },
];
