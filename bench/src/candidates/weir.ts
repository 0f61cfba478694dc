/**
 * Weir as a user runs it: the built program, one worker, one service that is dialled where the client meant to go.
 * Only `log.flows` is off, because the peers log no connections either.
 */
import { WeirProcess, type ConfigurationDocument } from '@weir/core/testing';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Candidate, Task } from '../candidate.ts';

const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url));

/** Has no route in the client host: only Weir can make it answer. */
const ONLY_BY_WEIR = { address: '198.51.100.7', port: 8080 };

export function weirConfiguration(interceptor: string, task: Task): ConfigurationDocument {
  const { address, port } = task.http;
  return {
    interceptor,
    owner: 'bench',
    log: { level: 'warn', format: 'json', flows: 'off' },
    services: [
      { name: 'bench', addresses: [task.prefix], ports: task.ports, dialer: 'direct' },
      {
        name: 'first',
        addresses: [`${ONLY_BY_WEIR.address}/32`],
        ports: [ONLY_BY_WEIR.port],
        dialer: { type: 'direct', to: `${address}:${port}` },
      },
    ],
  };
}

/** `other`: a checkout whose build is measured beside this one's, as `<interceptor>@other`. */
export function weirCandidate(interceptor: string, other?: string): Candidate {
  const program = join(other ?? CHECKOUT, 'core/bin/weir.js');
  return {
    id: other === undefined ? interceptor : `${interceptor}@other`,
    label: other === undefined ? `Weir ${interceptor}` : `other ${interceptor}`,
    missing: () => (existsSync(program) ? undefined : `${program} does not exist; name a checkout of Weir`),
    version: () => execFileSync(process.execPath, [program, 'version'], { encoding: 'utf8' }).trim(),
    prepare: async () => {},
    unprepare: async () => {},
    async start(task) {
      const weir = await WeirProcess.start(task.client, {
        config: weirConfiguration(interceptor, task),
        command: [process.execPath, program],
      });
      return {
        pids: [weir.process.pid],
        async carried() {
          const { counters } = await weir.admin.status();
          const count = (name: string) => counters[name] ?? 0;
          const flows = await weir.admin.recentFlows(50);
          return {
            flows: count('accepted'),
            bytes: count('bytesUp') + count('bytesDown'),
            spliced: flows.some(({ relay }) => relay === 'splice'),
          };
        },
        async stop() {
          const { code, signal } = await weir.stop();
          if (code !== 0) throw new Error(`weir ended with ${code ?? signal}: ${weir.process.describe()}`);
        },
      };
    },
    firstFlow: () => ONLY_BY_WEIR,
  };
}
