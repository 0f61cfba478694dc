/** Every mechanism, asked whether it could work here and what it lacks. */
import { UnsupportedError, WeirError } from '../api/errors.ts';
import type { HostChanges, HostNumbers } from '../api/host.ts';
import type { InterceptorDefinition, ProbeResult } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import type { Configuration } from '../config/model.ts';
import type { BackendReport } from './report.ts';

const refuse = () =>
  Promise.reject(new UnsupportedError({ problem: 'A probe must not change the host.', remedy: 'Report this.' }));
const NO_CHANGES: HostChanges = { change: refuse, undo: async () => {}, undoAll: async () => {} };

function detailOf(result: ProbeResult): string {
  if (result.verdict === 'inconclusive') return result.cause;
  if (result.verdict === 'unsupported') {
    const names = result.missing.map(({ name }) => name).join(', ');
    return result.missing.some(({ kind }) => kind === 'build') ? names : `needs ${names}`;
  }
  return Object.entries(result.facts)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

async function probe(
  definition: InterceptorDefinition<never>,
  configuration: Configuration,
  numbers: HostNumbers,
  log: Logger,
): Promise<ProbeResult> {
  const context = { owner: configuration.owner, numbers, host: NO_CHANGES, log, pump: refuse };
  const interceptor = definition.create(context, (configuration.interceptors[definition.id] ?? {}) as never);
  try {
    return await interceptor.probe(new AbortController().signal);
  } catch (error) {
    return { verdict: 'inconclusive', cause: error instanceof WeirError ? error.problem : String(error) };
  } finally {
    await interceptor.stop();
  }
}

/** In the order in which `auto` tries them. */
export async function examineBackends(
  definitions: ReadonlyArray<InterceptorDefinition<never>>,
  configuration: Configuration,
  numbers: HostNumbers,
  log: Logger,
): Promise<readonly BackendReport[]> {
  const reports: BackendReport[] = [];
  for (const definition of definitions) {
    // One at a time: two that load kernel modules or libraries at once would tell of each other.
    const result = await probe(definition, configuration, numbers, log);
    reports.push({
      interceptor: definition.id,
      priority: definition.priority,
      transparent: definition.capabilities.transparent,
      verdict: result.verdict,
      detail: detailOf(result),
      missing: result.verdict === 'unsupported' ? result.missing : [],
    });
  }
  return reports;
}
