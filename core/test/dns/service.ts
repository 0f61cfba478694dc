/** A name service on loopback, for one test. */
import { writeFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import type { ResolverConfiguration, UpstreamConfiguration } from '../../src/config/model.ts';
import type { NameAssignment } from '../../src/resolvers/assigned.ts';
import type { NameServiceOptions } from '../../src/resolvers/name-service-options.ts';
import { NameService } from '../../src/resolvers/name-service.ts';
import {
  Dnsmasq,
  FakeUpstream,
  freePort,
  listenOn,
  matcherOf,
  PlainChanges,
  resolverConfiguration,
  silent,
  TemporaryDirectory,
} from './fixtures.ts';

export const signal = AbortSignal.timeout(120_000);

export interface Setup extends Partial<Omit<NameServiceOptions, 'resolver'>> {
  readonly resolver?: Partial<ResolverConfiguration>;
  readonly hosts?: string;
}

/** Ended with the test; until then also by `service.stop()`. */
export async function serviceOf({ resolver = {}, hosts = '', ...options }: Setup = {}) {
  const directory = new TemporaryDirectory();
  onTestFinished(() => directory[Symbol.dispose]());
  const hostsPath = directory.file('hosts');
  const resolvConfPath = directory.file('resolv.conf');
  writeFileSync(hostsPath, hosts);
  writeFileSync(resolvConfPath, 'nameserver 192.0.2.53\n');
  const announced: NameAssignment[] = [];
  const port = await freePort();
  const service = new NameService({
    resolver: resolverConfiguration({ listen: listenOn(port), ...resolver }),
    limits: { names: 65_536 },
    matcher: matcherOf('web.internal', '*.apps.internal'),
    configuredNames: ['web.internal'],
    mark: 0,
    families: [4, 6],
    owner: 'default',
    stateDirectory: directory.file('state'),
    log: silent,
    host: new PlainChanges(),
    onAssign: (assignment) => {
      announced.push(assignment);
    },
    hostsPath,
    resolvConfPath,
    upstreamTimings: { attemptMs: 300, totalMs: 900 },
    ...options,
  });
  onTestFinished(() => service.stop());
  await service.start(signal);
  return { service, port, announced, hostsPath };
}

/** A real server that knows `real.example`. */
export async function dnsmasq(...args: readonly string[]): Promise<UpstreamConfiguration> {
  const server = await Dnsmasq.start(
    '--local=/example/',
    '--host-record=real.example,192.0.2.80,2001:db8::80,90',
    '--txt-record=real.example,hello',
    ...args,
  );
  onTestFinished(() => server[Symbol.asyncDispose]());
  return { protocol: 'udp', endpoint: server.endpoint };
}

/** A server that does what the test says. */
export async function fake(react: Parameters<typeof FakeUpstream.open>[0]): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.open(react);
  onTestFinished(() => upstream[Symbol.asyncDispose]());
  return upstream;
}
