/**
 * Proof that names get to Weir: a random name that only Weir knows is asked for, first at each listener, then in the
 * way in which any program of this host asks.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { SelfTestError } from '../api/errors.ts';
import type { Family, Prefix } from '../api/flow.ts';
import { addressToBytes, bytesToAddress, numberToAddress } from '../capture/address.ts';
import type { DnsListen } from '../config/model.ts';
import { reservedAddresses, type Assignment } from './address-pool.ts';
import { ExchangeError, exchange } from './exchange.ts';
import { formatListen } from './listen-failure.ts';
import { HEADER_BYTES } from './message.ts';
import { reachable } from './own-endpoints.ts';
import { parseResolvConf } from './resolv-conf.ts';
import { RESOLV_CONF } from './resolv-conf-claim.ts';
import { encodeQuery, readResponse } from './upstream-message.ts';

/** Milliseconds for the whole test. */
export const SELF_TEST_MS = 2000;

/** A name that nobody asked for before, so that no cache answers. */
export function selfTestName(): string {
  return `${randomBytes(12).toString('hex')}.self-test.weir.internal`;
}

/** What the name is answered with: addresses of the ranges that no real name ever gets. */
export function selfTestAssignment(name: string, ranges: readonly Prefix[], families: readonly Family[]): Assignment {
  const address = (family: Family): string | undefined => {
    const range = families.includes(family) ? ranges.find((one) => one.family === family) : undefined;
    return range && (reservedAddresses(range)[0] ?? numberToAddress(family, range.address));
  };
  const [ipv4, ipv6] = [address(4), address(6)];
  return { name, ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) };
}

export interface SelfTestInput {
  /** The name, and what Weir answers for it. At least one address. */
  readonly expected: Assignment;
  readonly listening: readonly DnsListen[];
  /** Also ask as other programs do, through this file; undefined when the host does not ask Weir. */
  readonly resolvConfPath: string | undefined;
  readonly mark: number;
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}

interface Expectation {
  readonly name: string;
  readonly family: Family;
  readonly address: string;
}

function expectationOf({ name, ipv4, ipv6 }: Assignment): Expectation {
  return ipv4 === undefined ? { name, family: 6, address: ipv6 as string } : { name, family: 4, address: ipv4 };
}

/** Asks one server. @returns why the answer is not the expected one, or undefined. */
async function askServer(
  { protocol, endpoint }: DnsListen,
  { name, family, address }: Expectation,
  mark: number,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<string | undefined> {
  const query = encodeQuery(name, family === 4 ? 'A' : 'AAAA', true);
  const question = query.subarray(HEADER_BYTES);
  try {
    const raw = await exchange(query, question, {
      upstream: { address: reachable(endpoint.address), port: endpoint.port },
      transport: protocol,
      mark,
      timeoutMs,
      signal,
      onMismatch: () => {},
    });
    const response = readResponse(raw, question.length);
    const found = response?.answers.map(({ data }) =>
      data.length === 4 || data.length === 16 ? bytesToAddress(data) : '?',
    );
    if (found?.includes(address)) return undefined;
    return `it answered ${response?.code ?? 'a malformed message'}${found?.length ? ` ${found.join(', ')}` : ''}`;
  } catch (error) {
    if (error instanceof ExchangeError && error.failure !== 'aborted') return error.message;
    throw error;
  }
}

/** What `getent` says: a fresh process that asks as every program linked with libc does. Undefined: no usable getent. */
function askLibc(
  { name, family }: Expectation,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<readonly string[] | undefined> {
  return new Promise((resolve) => {
    const args = ['--no-addrconfig', family === 4 ? 'ahostsv4' : 'ahostsv6', name];
    execFile('getent', args, { timeout: timeoutMs, killSignal: 'SIGKILL', signal }, (error, stdout) => {
      // 2 is "not found"; a process that was killed has no code. Any other: there is no getent, or one without ahosts.
      const code = (error as { code?: unknown } | null)?.code ?? 0;
      if (code !== 0 && code !== 2) resolve(undefined);
      else resolve(stdout.split('\n').flatMap((line) => line.split(/\s+/)[0] || []));
    });
  });
}

const SYSTEM_REMEDY =
  'Look at /etc/nsswitch.conf (a `resolve` or `mdns` entry before `dns` passes Weir by), at nscd, and at the nameserver lines of resolv.conf; or set resolver.test: warn or off.';

/** Asks in the system's way. @returns why the answer is not the expected one, or undefined. */
async function askSystem(
  path: string,
  expected: Expectation,
  mark: number,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<string | undefined> {
  if (path === RESOLV_CONF) {
    const found = await askLibc(expected, signal, timeoutMs);
    const wanted = bytesToAddress(addressToBytes(expected.address));
    if (found !== undefined) {
      if (found.includes(wanted)) return undefined;
      return found.length > 0 ? `the host resolves it to ${found.join(', ')}` : 'the host does not resolve it';
    }
  }
  // Without getent, or for a file that is not the host's own: the first server is whom libc would ask.
  const { nameservers } = parseResolvConf(readFileSync(path, 'latin1'));
  const [first] = nameservers;
  if (first === undefined) return `${path} names no server`;
  const server: DnsListen = { protocol: 'udp', endpoint: { address: first, port: 53 } };
  const reason = await askServer(server, expected, mark, signal, timeoutMs);
  return reason && `nameserver ${first}: ${reason}`;
}

/**
 * Asks for the name everywhere. The caller has registered it with the assigned zone and takes it away afterwards.
 * @throws SelfTestError with the first reason, within `timeoutMs`.
 */
export async function runSelfTest(input: SelfTestInput): Promise<void> {
  const { listening, resolvConfPath, mark, signal, timeoutMs = SELF_TEST_MS } = input;
  const expected = expectationOf(input.expected);
  const deadline = Date.now() + timeoutMs;
  // The listeners take a part of the time at most, so that the host's way still gets its turn.
  const perServer = resolvConfPath === undefined ? timeoutMs : timeoutMs / 2;
  const answers = await Promise.all(
    listening.map(async (listen) => ({ listen, reason: await askServer(listen, expected, mark, signal, perServer) })),
  );
  for (const { listen, reason } of answers) {
    if (reason === undefined) continue;
    throw new SelfTestError({
      problem: `The resolver's self-test failed: ${formatListen(listen)} did not answer for ${expected.name}: ${reason}.`,
      remedy: 'Look for packet filters on the loopback interface (nft list ruleset), or set resolver.test: off.',
    });
  }
  if (resolvConfPath === undefined) return;
  const left = Math.max(1, deadline - Date.now());
  const reason = await askSystem(resolvConfPath, expected, mark, signal, left);
  if (reason === undefined) return;
  throw new SelfTestError({
    problem: `The resolver's self-test failed: Weir answers for ${expected.name}, but ${reason}.`,
    remedy: SYSTEM_REMEDY,
  });
}
