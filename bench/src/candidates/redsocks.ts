/**
 * redsocks: REDIRECT to it, SOCKS5 from it. The proxy is the destination itself, which answers the handshake
 * (peers/socks-answer.ts), so that no proxy of another make is measured. With splice, without a log.
 */
import { missingFor } from '@weir/core/testing';
import { execFileSync } from 'node:child_process';
import type { Candidate, Task } from '../candidate.ts';
import { descriptorLimit, mostFlows } from '../descriptor-limit.ts';
import { asPeer, missingUser, runningPeer, untilListening } from './peer-process.ts';
import { PEER_PORT, steer, unsteer, type Steering } from './steering.ts';

const PROGRAM = '/usr/sbin/redsocks';
const FILE = '/run/redsocks.conf';
const STEERING: Steering = { kind: 'redirect', exempt: 'uid' };

function configuration({ ports, http }: Task): string {
  const listeners = ports.map(
    (port, n) => `redsocks {
  local_ip = 127.0.0.1; local_port = ${PEER_PORT + n};
  ip = ${http.address}; port = ${port}; type = socks5;
  listenq = 4096; splice = true;
}
`,
  );
  return `base {
  log_debug = off; log_info = off; log = stderr; daemon = off; redirector = iptables;
  rlimit_nofile = ${descriptorLimit}; redsocks_conn_max = ${mostFlows};
}
${listeners.join('')}`;
}

export const REDSOCKS: Candidate = {
  id: 'redsocks',
  label: 'redsocks',
  kind: 'peer',
  udp: false,
  missing: () => missingFor('redsocks') ?? missingUser(),
  version: () => /redsocks\/(\S+)/.exec(execFileSync(PROGRAM, ['-v'], { encoding: 'utf8' }))?.[1] ?? 'unknown',
  async prepare(task) {
    await steer(task, STEERING);
    await task.client.check(['sh', '-c', `cat > ${FILE}`], { input: configuration(task) });
  },
  unprepare: (task) => unsteer(task, STEERING),
  async start(task) {
    const process = task.client.spawn([...task.manyFiles, ...asPeer([PROGRAM, '-c', FILE])]);
    await untilListening(task, process, PEER_PORT);
    return runningPeer(task, process);
  },
  firstFlow: ({ http }) => http,
};
