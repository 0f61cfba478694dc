/** Reads configurations in tests: from text, with the real registry and, where asked, more dialer types. */
import { ConfigurationError } from '../../src/api/errors.ts';
import type { DialerDefinition } from '../../src/api/dialer.ts';
import type { LoadDefinitions } from '../../src/config/definitions.ts';
import { faultText } from '../../src/config/fault-text.ts';
import { loadConfiguration, type LoadOptions } from '../../src/config/load.ts';
import type { Configuration } from '../../src/config/model.ts';
import { loadDefinitions } from '../../src/registry/definitions.ts';

/** A dialer type that takes a user and a password, as later ones do, and carries TCP alone. */
const login: DialerDefinition<{ user?: string; password: string }> = {
  type: 'login',
  kind: 'route',
  protocols: ['tcp'],
  module: new URL(import.meta.url),
  options: {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate(value) {
        const { user, password, ...rest } = value as Record<string, unknown>;
        const issues = Object.keys(rest).map((key) => ({ message: `no ${key} here`, path: [{ key }] }));
        if (typeof password !== 'string') issues.push({ message: 'needs a password', path: [{ key: 'password' }] });
        if (issues.length > 0) return { issues };
        return { value: { ...(typeof user === 'string' ? { user } : {}), password: password as string } };
      },
    },
  },
  create: () => ({ kind: 'route', routes: () => {} }),
};

const definitions: LoadDefinitions = async (plugins) => {
  const real = await loadDefinitions(plugins);
  return { ...real, dialerTypes: new Map([...real.dialerTypes, ['login', login as DialerDefinition<never>]]) };
};

export function read(text: string, options: Partial<LoadOptions> = {}): Promise<Configuration> {
  return loadConfiguration({ file: 'weir.yaml', text, definitions, ...options });
}

export function readFileAt(file: string, options: Partial<LoadOptions> = {}): Promise<Configuration> {
  return loadConfiguration({ file, definitions, ...options });
}

/** What an operator is shown for each fault. Fails when there is none. */
export async function faultsOf(reading: Promise<unknown>): Promise<readonly string[]> {
  const error = await refusal(reading);
  return error.faults.map((fault) => faultText(fault));
}

export async function refusal(reading: Promise<unknown>): Promise<ConfigurationError> {
  let done: unknown;
  try {
    done = await reading;
  } catch (error) {
    if (error instanceof ConfigurationError) return error;
    throw error;
  }
  throw new Error(
    `accepted: ${JSON.stringify(done, (_, value) => (typeof value === 'bigint' ? String(value) : value))}`,
  );
}

/** A service that is right, for documents whose fault is elsewhere. Its only line comes first. */
export const FINE = 'services: [{ name: fine, addresses: fine.internal }]\n';
