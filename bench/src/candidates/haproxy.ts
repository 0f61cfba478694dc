/**
 * HAProxy as a transparent TCP proxy with splice, one thread. Its configuration may be improved by anybody and weakened by
 * nobody. What leads traffic to it is the least that works: marks without connection tracking, its own connections
 * exempt by the user it runs as.
 */
import { missingFor, type TestHost } from '@weir/core/testing';
import { execFileSync } from 'node:child_process';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Candidate, Task } from '../candidate.ts';

const PROGRAM = '/usr/sbin/haproxy';
/** Nobody: no other process of the client host runs as it. */
const UID = 65_534;
const PORT = 15_001;
const MARK = 1;
const TABLE = 100;
const SOCKET = '/run/haproxy.sock';
const FILE = '/run/haproxy.cfg';

const CONFIGURATION = `
global
  nbthread 1
  maxconn 4000
  tune.pipesize 262144
  uid ${UID}
  gid ${UID}
  stats socket ${SOCKET} mode 600 level operator
defaults
  mode tcp
  maxconn 4000
  option splice-auto
  option splice-request
  option splice-response
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen captured
  bind 127.0.0.1:${PORT} transparent backlog 4096
  server s 0.0.0.0
`;

function rules({ prefix, ports }: Task): string {
  return `table ip bench_haproxy {
  chain out {
    type route hook output priority mangle; policy accept;
    meta skuid ${UID} return
    ip daddr ${prefix} tcp dport { ${ports.join(', ')} } meta mark set ${MARK}
  }
  chain pre {
    type filter hook prerouting priority mangle; policy accept;
    meta mark ${MARK} meta l4proto tcp tproxy to 127.0.0.1:${PORT} accept
  }
}
`;
}

const ROUTING = [
  ['ip', 'rule', '%', 'fwmark', String(MARK), 'lookup', String(TABLE)],
  ['ip', 'route', '%', 'local', '0.0.0.0/0', 'dev', 'lo', 'table', String(TABLE)],
];

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
  missing() {
    const lacks = missingFor('haproxy');
    if (lacks !== undefined) return lacks;
    const root = missingFor('root');
    return root && `its own connections are told apart by the user it runs as, and a second one needs root: ${root}`;
  },
  version: () => /version (\S+)/.exec(execFileSync(PROGRAM, ['-v'], { encoding: 'utf8' }))?.[1] ?? 'unknown',
  async prepare(task) {
    await task.client.check(['nft', '-f', '/dev/stdin'], { input: rules(task) });
    for (const command of ROUTING) await task.client.check(command.map((word) => (word === '%' ? 'add' : word)));
    await task.client.check(['sh', '-c', `cat > ${FILE}`], { input: CONFIGURATION });
  },
  async unprepare(task) {
    for (const command of ROUTING) await task.client.check(command.map((word) => (word === '%' ? 'del' : word)));
    await task.client.check(['nft', 'delete', 'table', 'ip', 'bench_haproxy']);
  },
  async start({ client }) {
    const haproxy = client.spawn([PROGRAM, '-db', '-f', FILE]);
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
