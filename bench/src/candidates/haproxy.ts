/**
 * HAProxy as a transparent TCP proxy with splice, one thread. Its configuration may be improved by anybody and weakened by
 * nobody. What leads traffic to it is the least that works: marks without connection tracking, its own connections
 * exempt by the user it runs as.
 */
import { missingFor, type TestHost } from '@weir/core/testing';
import { execFileSync } from 'node:child_process';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Candidate } from '../candidate.ts';
import { descriptorLimit } from '../descriptor-limit.ts';
import { missingUser } from './peer-process.ts';
import { PEER_PORT, PEER_UID, steer, unsteer, type Steering } from './steering.ts';

const PROGRAM = '/usr/sbin/haproxy';
const STEERING: Steering = { kind: 'tproxy', exempt: 'uid' };
const SOCKET = '/run/haproxy.sock';
const FILE = '/run/haproxy.cfg';

/** More than any load uses at once; each takes two descriptors. */
const PIPES = 200;
const MAXCONN = Math.min(60_000, Math.floor((descriptorLimit - 2 * PIPES - 300) / 2));

const CONFIGURATION = `
global
  nbthread 1
  maxconn ${MAXCONN}
  maxpipes ${PIPES}
  tune.pipesize 262144
  uid ${PEER_UID}
  gid ${PEER_UID}
  stats socket ${SOCKET} mode 600 level operator
defaults
  mode tcp
  maxconn ${MAXCONN}
  option splice-auto
  option splice-request
  option splice-response
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen captured
  bind 127.0.0.1:${PEER_PORT} transparent backlog 4096
  server s 0.0.0.0
`;

/** The answer to a command on the stats socket. */
async function ask(client: TestHost, command: string): Promise<string> {
  const socket = connect({ path: client.path(SOCKET) });
  socket.end(`${command}\n`);
  return text(socket);
}

/** One row of `show stat`, by the names of its first line. */
function frontend(csv: string): ReadonlyMap<string, string> {
  const lines = csv.split('\n').map((line) => line.split(','));
  const names = (lines[0] ?? []).map((name) => name.replace(/^# /, ''));
  const row = lines.find((cells) => cells[0] === 'captured' && cells[1] === 'FRONTEND') ?? [];
  return new Map(names.map((name, index) => [name, row[index] ?? '']));
}

export const HAPROXY: Candidate = {
  id: 'haproxy',
  label: 'HAProxy',
  kind: 'peer',
  udp: false,
  missing: () => missingFor('haproxy') ?? missingUser(),
  version: () => /version (\S+)/.exec(execFileSync(PROGRAM, ['-v'], { encoding: 'utf8' }))?.[1] ?? 'unknown',
  async prepare(task) {
    await steer(task, STEERING);
    await task.client.check(['sh', '-c', `cat > ${FILE}`], { input: CONFIGURATION });
  },
  unprepare: (task) => unsteer(task, STEERING),
  async start({ client, manyFiles }) {
    const haproxy = client.spawn([...manyFiles, PROGRAM, '-db', '-f', FILE]);
    const listening = ['sh', '-c', `for i in $(seq 200); do [ -S ${SOCKET} ] && exit 0; sleep 0.01; done; exit 1`];
    await client.check(listening).catch((error: unknown) => {
      throw new Error(`haproxy did not start: ${haproxy.describe()}`, { cause: error });
    });
    return {
      pids: [haproxy.pid],
      async carried() {
        const row = frontend(await ask(client, 'show stat'));
        const spliced = /^TotalSplic\w*BytesOut: (\d+)$/m.exec(await ask(client, 'show info'));
        return {
          flows: Number(row.get('stot')),
          bytes: Number(row.get('bin')) + Number(row.get('bout')),
          ...(spliced ? { spliced: Number(spliced[1]) > 0 } : {}),
        };
      },
      async stop() {
        // SIGUSR1 would wait for idle clients; nothing is under way here.
        haproxy.kill('SIGTERM');
        await haproxy.waitForExit();
        await client.check(['rm', '-f', SOCKET]);
      },
    };
  },
  firstFlow: ({ http }) => http,
};
