/**
 * A plugin with stream dialers, for the tests of their contract: `test-duplex` hands over a Duplex that is no socket (the
 * bytes go through two PassThroughs), `test-socket` a connected descriptor with bytes it has read already, `test-stalled`
 * never answers, `test-broken` fails.
 */
import { API_VERSION, DialError, defineDialer, definePlugin, type StandardSchema, type StreamDialer } from '@weir/core';
import { openSocket, sockaddr, libc } from '@weir/core/sys';
import { once } from 'node:events';
import { connect } from 'node:net';
import { duplexPair, type Duplex } from 'node:stream';

interface Options {
  readonly mode: 'duplex' | 'socket' | 'stalled' | 'broken';
  readonly address: string;
  readonly port: number;
}

const options: StandardSchema<Options> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as Options }) },
};

async function duplex({ address, port }: Options, signal: AbortSignal): Promise<Duplex> {
  const socket = connect({ host: address, port, allowHalfOpen: true });
  await once(socket, 'connect', { signal });
  const [near, far] = duplexPair();
  far.pipe(socket).pipe(far);
  socket.on('error', (error) => far.destroy(error));
  return near;
}

async function descriptor({ address, port }: Options): Promise<{ fd: number }> {
  const fd = openSocket({ family: 4, protocol: 'tcp' });
  const name = sockaddr({ address, port });
  libc.connect(fd, name, name.length);
  await new Promise((resolve) => setTimeout(resolve, 50));
  return { fd };
}

function create(given: Options): StreamDialer {
  return {
    kind: 'stream',
    async dial(target, { signal }) {
      if (given.mode === 'broken') {
        throw new DialError('unreachable', { problem: `No way to ${target.host}.`, remedy: 'None: this is a test.' });
      }
      if (given.mode === 'stalled') await once(signal, 'abort');
      signal.throwIfAborted();
      if (given.mode === 'duplex') return { stream: await duplex(given, signal) };
      return { socket: await descriptor(given), early: Buffer.from(`to ${target.host}:${target.port} `) };
    },
    close: async () => undefined,
  };
}

/** What the stream worker imports this module for. */
export const dialer = defineDialer<Options>({
  type: 'test-stream',
  kind: 'stream',
  options,
  module: new URL(import.meta.url),
  create,
});

export default definePlugin({ name: 'stream-dialers', apiVersion: API_VERSION, dialers: [dialer] });
