/**
 * v2ray: dokodemo-door by TPROXY, freedom to where the client meant to go; TCP and UDP, no log, no sniffing, no statistics.
 * It uses as many threads as there are processors, as it does wherever it runs.
 */
import { missingFor } from '@weir/core/testing';
import { execFileSync } from 'node:child_process';
import type { Candidate } from '../candidate.ts';
import { runningPeer, untilListening } from './peer-process.ts';
import { PEER_PORT, steer, unsteer, type Steering } from './steering.ts';

const PROGRAM = '/usr/bin/v2ray';
const FILE = '/run/v2ray.json';
const OWN_MARK = 255;
const STEERING: Steering = { kind: 'tproxy', exempt: { mark: OWN_MARK }, udp: true };

const CONFIGURATION = {
  log: { loglevel: 'none' },
  inbounds: [
    {
      listen: '127.0.0.1',
      port: PEER_PORT,
      protocol: 'dokodemo-door',
      settings: { network: 'tcp,udp', followRedirect: true },
      streamSettings: { sockopt: { tproxy: 'tproxy' } },
    },
  ],
  outbounds: [{ protocol: 'freedom', settings: {}, streamSettings: { sockopt: { mark: OWN_MARK } } }],
  policy: { levels: { 0: { connIdle: 3600, bufferSize: 512 } } },
};

export const V2RAY: Candidate = {
  id: 'v2ray',
  label: 'v2ray',
  kind: 'peer',
  udp: true,
  missing: () => missingFor('v2ray'),
  version: () => /V2Ray (\S+)/.exec(execFileSync(PROGRAM, ['-version'], { encoding: 'utf8' }))?.[1] ?? 'unknown',
  async prepare(task) {
    await steer(task, STEERING);
    await task.client.check(['sh', '-c', `cat > ${FILE}`], { input: JSON.stringify(CONFIGURATION) });
  },
  unprepare: (task) => unsteer(task, STEERING),
  async start(task) {
    const process = task.client.spawn([...task.manyFiles, PROGRAM, '-config', FILE]);
    await untilListening(task, process, PEER_PORT);
    return runningPeer(task, process);
  },
  firstFlow: ({ http }) => http,
};
