/** Runs Weir inside itself and prints what an embedder would not look at: what has become of the process around it. */
import { configuration, Weir, type Logger, type WeirEvents } from '@weir/core';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';

const WATCHED = [
  'SIGTERM',
  'SIGINT',
  'SIGHUP',
  'SIGPIPE',
  'uncaughtException',
  'unhandledRejection',
  'beforeExit',
  'warning',
  'exit',
];
const EVENTS = ['flow-opened', 'flow-closed', 'drift', 'reload', 'draining', 'stopping', 'stopped'] as const;

const listeners = () => Object.fromEntries(WATCHED.map((name) => [name, process.listenerCount(name)]));
const surroundings = () => ({
  listeners: listeners(),
  umask: process.umask().toString(8),
  directory: process.cwd(),
  environment: JSON.stringify(process.env),
});

const heard: { readonly name: keyof WeirEvents; readonly event: unknown }[] = [];
const logged: string[] = [];
const log: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: (_fields, message) => void logged.push(message),
  child: () => log,
};

async function next<Name extends keyof WeirEvents>(name: Name): Promise<WeirEvents[Name]> {
  for (const begun = performance.now(); performance.now() < begun + 10_000;) {
    const found = heard.find((each) => each.name === name);
    if (found !== undefined) return found.event as WeirEvents[Name];
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`no ${name}, but ${JSON.stringify([heard, logged])}`);
}

const before = surroundings();
const weir = await Weir.start(
  await configuration({
    owner: 'around',
    interceptor: 'nft',
    timeouts: { drain: '5s' },
    services: [{ name: 'web', addresses: ['203.0.113.0/24'], dialer: { type: 'direct', to: '10.1.0.1:9001' } }],
  }),
  {
    log,
    on: {
      ready() {
        throw new Error('mine');
      },
    },
  },
);
for (const name of EVENTS) weir.on(name, (event) => heard.push({ name, event }));
const during = surroundings();

const client = connect(80, '203.0.113.7');
client.write('x');
await once(client, 'data');
const opened = await next('flow-opened');
const openedFirst = !heard.some(({ name }) => name === 'flow-closed');
client.end();
const closed = await next('flow-closed');
// 87 is Weir's routing protocol id.
execFileSync('sh', ['-c', `ip -4 rule del pref "$(ip -4 rule list | awk -F: '/proto 87/ { print $1; exit }')"`]);
const drift = await next('drift');
await weir.drain();
await Promise.all([weir.stop(), weir.stop()]);
const { error } = await weir.stopped;
const late = await weir.reload().catch((failure: { code: string }) => failure.code);

process.stdout.write(
  JSON.stringify({
    before,
    during,
    after: surroundings(),
    logged,
    late,
    error: error?.message ?? null,
    openedFirst,
    same: opened.id === closed.id,
    outcome: [opened.outcome ?? null, closed.outcome],
    drift: drift.outcome,
    order: heard.map(({ name }) => name),
  }),
);
