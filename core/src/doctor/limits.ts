/** Checks `open-files`, `pipes`, `backlog` and `worker-cpus`: limits of the kernel that flows meet before they meet Weir's own. */
import { readFileSync } from 'node:fs';
import { ConfigurationError } from '../api/errors.ts';
import { PIPE_SIZE } from '../dataplane/pipe-pool.ts';
import { workerProcessors } from '../engine/worker-placement.ts';
import { allowedProcessors } from '../sys/affinity.ts';
import { hasCapability } from '../sys/capabilities.ts';
import { readSysctl } from '../sys/sysctl.ts';
import type { DoctorContext } from './context.ts';
import { fine, type Finding } from './report.ts';

/** Descriptors for everything but flows. */
const BESIDES = 1024;
/** Both sides of a flow. */
const PER_FLOW = 2;
const PAGE = 4096;
/** Flows that move bulk at once; each has a pipe per direction then. */
const BULK_FLOWS = 512;
/** What listeners ask for. */
const BACKLOG = 4096;

/** Node raises its soft limit to the hard one when it starts. */
function hardLimit(): number | undefined {
  try {
    const found = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return found === undefined || found === 'unlimited' ? undefined : Number(found);
  } catch {
    return undefined;
  }
}

/** A session's socket, and where a handshake made its way its control connection too. 0: no UDP can be captured. */
function descriptorsPerSession({ configuration, dialerTypes }: Parameters<typeof checkOpenFiles>[0]): 0 | 1 | 2 {
  const { services, dialers, resolver } = configuration;
  const users = new Set(services.filter(({ protocols }) => protocols.includes('udp')).flatMap((one) => one.dialers));
  const isHandshake = (type: string): boolean => dialerTypes.get(type)?.kind === 'handshake';
  if (dialers.some(({ name, type }) => users.has(name) && isHandshake(type))) return 2;
  // A captured query is a session.
  return users.size > 0 || resolver.reach === 'auto' || resolver.reach === 'capture' ? 1 : 0;
}

/** @param limit descriptors that Weir may have; undefined: any number */
export function checkOpenFiles(
  context: Pick<DoctorContext, 'configuration' | 'dialerTypes'>,
  limit = hardLimit(),
): readonly Finding[] {
  const check = 'open-files';
  const { flows, udpSessions } = context.configuration.limits;
  const perSession = descriptorsPerSession(context);
  const needed = PER_FLOW * flows + perSession * udpSessions + BESIDES;
  const limits = perSession === 0 ? ['limits.flows'] : ['limits.flows', 'limits.udp-sessions'];
  if (limit === undefined || limit >= needed) {
    const sessions = perSession === 0 ? '' : ` and limits.udp-sessions: ${udpSessions}`;
    return [fine(check, `${limit ?? 'any number of'} open files are enough for limits.flows: ${flows}${sessions}`)];
  }
  return [
    {
      check,
      severity: 'warning',
      what:
        perSession === 0
          ? `${limit} open files are enough for ${Math.max(0, Math.floor((limit - BESIDES) / PER_FLOW))} flows, and limits.flows is ${flows}`
          : `${limit} open files are fewer than limits.flows: ${flows} (${PER_FLOW} each), limits.udp-sessions: ${udpSessions} (${perSession} each) and ${BESIDES} for everything else may take`,
      remedy: `Start Weir with at least ${needed} (LimitNOFILE=${needed} in a systemd unit), or lower ${limits.join(' or ')}.`,
      command: `ulimit -n ${needed}`,
    },
  ];
}

export function checkPipes(): readonly Finding[] {
  const check = 'pipes';
  if (hasCapability('CAP_SYS_RESOURCE') || hasCapability('CAP_SYS_ADMIN')) {
    return [fine(check, 'this process is not bound by the limits of pipes')];
  }
  const largest = Number(readSysctl('fs/pipe-max-size') ?? PIPE_SIZE);
  const pages = Number(readSysctl('fs/pipe-user-pages-soft') ?? 0);
  const needed = (2 * BULK_FLOWS * PIPE_SIZE) / PAGE;
  const settings = [
    ...(largest < PIPE_SIZE ? [`fs.pipe-max-size=${PIPE_SIZE}`] : []),
    ...(pages > 0 && pages < needed ? [`fs.pipe-user-pages-soft=${needed}`] : []),
  ];
  if (settings.length === 0) return [fine(check, 'pipes are large and many enough')];
  const pipes = Math.floor((pages * PAGE) / PIPE_SIZE);
  return [
    {
      check,
      severity: 'warning',
      what: `this user gets ${pipes} large pipes: more than ${Math.floor(pipes / 2)} flows that move bulk at once are slower`,
      remedy: 'Raise the limits when so many are expected, or give Weir CAP_SYS_RESOURCE.',
      command: `sysctl -w ${settings.join(' ')}`,
    },
  ];
}

export function checkBacklog(): readonly Finding[] {
  const check = 'backlog';
  const limit = Number(readSysctl('net/core/somaxconn') ?? BACKLOG);
  if (limit >= BACKLOG) return [fine(check, `up to ${BACKLOG} connections may wait to be accepted`)];
  return [
    {
      check,
      severity: 'warning',
      what: `only ${limit} connections may wait to be accepted: bursts beyond are delayed by a second or more`,
      remedy: 'Raise the limit.',
      command: `sysctl -w net.core.somaxconn=${BACKLOG}`,
    },
  ];
}

/** @param allowed processors that Weir may use */
export function checkWorkerCpus(
  { configuration: { workers, workerCpus } }: Pick<DoctorContext, 'configuration'>,
  allowed = allowedProcessors(),
): readonly Finding[] {
  const check = 'worker-cpus';
  try {
    const places = workerProcessors(workerCpus, () => allowed).length || allowed.length;
    if (workers <= places)
      return [fine(check, `processors that workers may use: ${places}, enough for workers: ${workers}`)];
    return [
      {
        check,
        severity: 'warning',
        what: `${workers} workers share ${places} of this host's processors: more than one each gain nothing`,
        remedy: 'Run fewer workers, or give Weir more processors.',
        setting: { key: 'workers', value: places },
      },
    ];
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return [
      {
        check,
        severity: 'problem',
        what: error.problem,
        remedy: error.remedy,
        setting: { key: 'worker-cpus', value: 'auto' },
      },
    ];
  }
}
