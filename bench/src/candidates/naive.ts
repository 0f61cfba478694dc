/**
 * The relay that everybody writes first in Node: two sockets and pipe(). Behind REDIRECT, with a listener for each port,
 * since a socket of node:net cannot tell where the client meant to go.
 */
import type { Candidate } from '../candidate.ts';
import { scriptCommand } from '../script.ts';
import { asPeer, missingUser, runningPeer } from './peer-process.ts';
import { PEER_PORT, steer, unsteer, type Steering } from './steering.ts';

const STEERING: Steering = { kind: 'redirect', exempt: 'uid' };

export const NAIVE: Candidate = {
  id: 'pipe',
  label: 'Node socket.pipe()',
  kind: 'peer',
  udp: false,
  missing: missingUser,
  version: () => `node ${process.versions.node}`,
  prepare: (task) => steer(task, STEERING),
  unprepare: (task) => unsteer(task, STEERING),
  async start(task) {
    const pairs = task.ports.map((port, n) => `${PEER_PORT + n}:${port}`);
    const relay = task.client.spawn([
      ...task.manyFiles,
      ...asPeer(scriptCommand('pipe-relay', [task.http.address, ...pairs])),
    ]);
    await relay.waitFor(/listening/);
    return runningPeer(task, relay);
  },
  firstFlow: ({ http }) => http,
};
