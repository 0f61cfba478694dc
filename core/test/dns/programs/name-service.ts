/**
 * A name service as a program, for tests in private hosts: listens on 127.0.0.1:53, claims the host's resolver and tests
 * itself. Argument: JSON of what differs. Prints one JSON line when it is ready; each line on standard input is a
 * command that is answered by one line; ends with its input.
 */
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { WeirError } from '../../../src/api/errors.ts';
import { HostChangeJournal } from '../../../src/host/change.ts';
import { makeStateDirectory } from '../../../src/host/state-directory.ts';
import { cleanUpResolvConf } from '../../../src/dns/resolv-conf-claim.ts';
import { NameService } from '../../../src/resolvers/name-service.ts';
import type { ResolverConfiguration } from '../../../src/config/model.ts';
import { listenOn, matcherOf, resolverConfiguration, silent } from '../fixtures.ts';

interface Arguments {
  readonly stateDirectory: string;
  readonly resolver?: Partial<ResolverConfiguration>;
  readonly mark?: number;
  readonly cleanUp?: boolean;
}

function reason(error: unknown): string {
  return error instanceof WeirError ? `${error.code} ${error.message}` : String(error);
}

const { stateDirectory, resolver, mark = 0, cleanUp = false } = JSON.parse(process.argv[2] ?? '{}') as Arguments;
const say = (value: unknown) => console.log(JSON.stringify(value));

if (cleanUp) {
  say(cleanUpResolvConf({ owner: 'default', stateDirectory }));
} else {
  makeStateDirectory(stateDirectory);
  const host = new HostChangeJournal(`${stateDirectory}/journal`, silent);
  const service = new NameService({
    resolver: resolverConfiguration({ listen: listenOn(53), reach: 'auto', upstreams: ['system'], ...resolver }),
    limits: { names: 1000 },
    matcher: matcherOf('web.internal', '*.apps.internal'),
    configuredNames: ['web.internal'],
    mark,
    families: [4, 6],
    owner: 'default',
    stateDirectory,
    log: silent,
    host,
    onAssign: () => {},
  });
  const signal = new AbortController().signal;
  await service.start(signal);
  await service.claimSystem(signal);
  say(service.status());
  for await (const command of createInterface({ input: process.stdin })) {
    const [word, name = ''] = command.split(' ');
    try {
      if (word === 'self-test') say(await service.selfTest(signal).then(() => 'passed'));
      else if (word === 'lookup') say(await service.lookup(name, 4, { signal }));
      else if (word === 'descriptors') say(readdirSync('/proc/self/fd').length);
      else say(`unknown command ${command}`);
    } catch (error) {
      say(reason(error));
    }
  }
  await service.releaseSystem();
  await service.stop();
  host.close();
}
