/** Why the resolver could not listen, in words that help. */
import { NotPermittedError, WeirError } from '../api/errors.ts';
import type { Endpoint } from '../api/flow.ts';
import { familyOf } from '../capture/address.ts';
import type { DnsListen } from '../config/model.ts';
import { EADDRINUSE, EADDRNOTAVAIL, SystemCallError } from '../sys/errno.ts';

/** `127.0.0.1:53`, `[::1]:53`. */
export function formatEndpoint({ address, port }: Endpoint): string {
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `udp://127.0.0.1:53`, as in the configuration. */
export function formatListen({ protocol, endpoint }: DnsListen): string {
  return `${protocol}://${formatEndpoint(endpoint)}`;
}

function numberOf(error: unknown): number {
  if (error instanceof SystemCallError) return error.errno;
  const { errno } = error as { errno?: unknown };
  return typeof errno === 'number' ? Math.abs(errno) : 0;
}

/** The error for an endpoint that could not be opened. `cause` is what the system call said. */
export function listenFailure(listen: DnsListen, cause: unknown): WeirError {
  const where = formatListen(listen);
  const { port } = listen.endpoint;
  if (cause instanceof NotPermittedError) {
    return new NotPermittedError({
      problem: `The resolver may not listen on ${where}.`,
      remedy:
        port > 0 && port < 1024
          ? 'Run Weir as root, give it CAP_NET_BIND_SERVICE, or set resolver.listen to a port from 1024.'
          : cause.remedy,
      cause,
    });
  }
  const number = numberOf(cause);
  if (number === EADDRINUSE) {
    return new WeirError('WEIR_LISTEN', {
      problem: `The resolver cannot listen on ${where}: another process holds that port.`,
      remedy: `Find it with \`ss -lntup 'sport = :${port}'\` (often systemd-resolved, dnsmasq, unbound or another Weir) and stop it, or set resolver.listen to another address such as ${listen.protocol}://127.0.0.54:53.`,
      cause,
    });
  }
  if (number === EADDRNOTAVAIL) {
    return new WeirError('WEIR_LISTEN', {
      problem: `The resolver cannot listen on ${where}: this host does not have that address.`,
      remedy: 'Set resolver.listen to an address that `ip address` shows.',
      cause,
    });
  }
  return new WeirError('WEIR_LISTEN', {
    problem: `The resolver cannot listen on ${where}: ${cause instanceof Error ? cause.message : String(cause)}`,
    remedy: 'Set resolver.listen to another address.',
    cause,
  });
}
