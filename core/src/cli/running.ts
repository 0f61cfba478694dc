/** The admin client of the instance that a command means. */
import { isAbsolute, join } from 'node:path';
import { AdminClient } from '../admin/client.ts';
import { SOCKET_NAME } from '../admin/protocol.ts';
import { UsageError } from '../api/errors.ts';
import { DEFAULTS } from '../config/defaults.ts';
import { ALLOWED, OWNER } from '../config/scalars.ts';
import { knownOwners, stateDirectory } from '../host/state-directory.ts';
import type { CommandContext } from './context.ts';

export interface RunningOptions {
  readonly owner?: string;
  /** The socket's path, for an instance whose configuration sets `admin` to one. */
  readonly admin?: string;
  readonly json?: boolean;
}

export function runningInstance(context: CommandContext, options: RunningOptions): AdminClient {
  const given = (value: string | undefined) => (value === undefined || value === '' ? undefined : value);
  const owner = given(options.owner) ?? given(context.environment['WEIR_OWNER']) ?? DEFAULTS.owner;
  if (!OWNER.test(owner)) {
    throw new UsageError({ problem: `"${owner}" is not an owner.`, remedy: `An owner is ${ALLOWED.instance}.` });
  }
  const admin = given(options.admin) ?? given(context.environment['WEIR_ADMIN']) ?? 'unix';
  if (admin !== 'unix' && !isAbsolute(admin)) {
    throw new UsageError({
      problem: `"${admin}" is no admin socket.`,
      remedy: 'Give the absolute path that the configuration of that instance has in "admin".',
    });
  }
  const path = admin === 'unix' ? join(stateDirectory(owner), SOCKET_NAME) : admin;
  return new AdminClient({ path, owner, others: knownOwners() });
}
