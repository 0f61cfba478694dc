/** What a run tells about names: `weir dns names` and `weir dns query`. */
import { NotRunningError } from '../api/errors.ts';
import { NO_PATTERN } from '../capture/index.ts';
import type { NameService } from '../resolvers/name-service.ts';
import { servicesOfNames, type CapturePlan } from './capture-plan.ts';
import type { ServedName, ServedQuery } from './report.ts';

/** Milliseconds that the answer to a query is waited for. */
const PATIENCE = 8000;

function wantedBy(plan: CapturePlan | undefined, index: number): Pick<ServedName, 'pattern' | 'services'> {
  const pattern = index === NO_PATTERN ? undefined : plan?.names.patterns[index];
  const services = plan === undefined ? [] : servicesOfNames(plan, index).map(({ name }) => name);
  return { ...(pattern === undefined ? {} : { pattern }), services };
}

export function servedNames(
  names: NameService | undefined,
  plan: CapturePlan | undefined,
  limit: number,
): readonly ServedName[] {
  const reports = names?.names().slice(0, limit) ?? [];
  return reports.map(({ patternIndex, ...report }) => ({ ...report, ...wantedBy(plan, patternIndex) }));
}

/** @throws NotRunningError, UsageError. */
export async function servedQuery(
  names: NameService,
  plan: CapturePlan,
  serving: boolean,
  name: string,
  type: string,
): Promise<ServedQuery> {
  if (!serving) {
    throw new NotRunningError({
      problem: 'This instance serves no names: no service names any, or nothing is captured transparently.',
      remedy: 'Give a service a name, or ask another instance with --owner.',
    });
  }
  const report = await names.query(name, type, AbortSignal.timeout(PATIENCE));
  return { ...report, ...wantedBy(plan, plan.names.match(name)) };
}
