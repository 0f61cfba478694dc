/** The defaults of docs/configuration.md, in one place. */
import { parsePrefix } from '../capture/address.ts';
import type { Configuration } from './model.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** A configuration without services; spread it and add yours. */
export const DEFAULTS: Configuration = {
  interceptor: 'auto',
  interceptors: {},
  require: [],
  owner: 'default',
  workers: 1,
  workerCpus: 'none',
  capture: {
    scopes: ['output'],
    forward: { interfaces: [] },
    mark: 'auto',
    table: 'auto',
    preference: 'auto',
    onDrift: 'repair',
    onCrash: 'open',
    only: [],
    except: [],
  },
  resolver: {
    listen: [
      { protocol: 'udp', endpoint: { address: '127.0.0.1', port: 53 } },
      { protocol: 'tcp', endpoint: { address: '127.0.0.1', port: 53 } },
    ],
    reach: 'auto',
    ranges: [parsePrefix('100.64.0.0/10'), parsePrefix('fd64:7765:6972::/64')],
    upstreams: ['system'],
    mode: 'failover',
    unanswerable: 'refused',
    udpBytes: 1232,
    ttl: MINUTE,
    keep: 60 * MINUTE,
    secret: '',
    map: 'state',
    cache: 10_000,
    serveStale: 0,
    rebinding: 'allow',
    rebindingAllow: [],
    dohCanary: false,
    test: 'warn',
    plugins: {},
  },
  dialers: [],
  services: [],
  exclude: [],
  unmatched: 'reset',
  timeouts: {
    connect: 10 * SECOND,
    handshake: 10 * SECOND,
    idle: 60 * MINUTE,
    udpIdle: MINUTE,
    halfClosed: 5 * MINUTE,
    drain: 30 * SECOND,
  },
  limits: { flows: 50_000, udpSessions: 20_000, pendingDials: 256, names: 65_536, realAddresses: 4096 },
  log: { level: 'info', format: 'auto', flows: 'closed' },
  admin: 'unix',
  plugins: [],
};
