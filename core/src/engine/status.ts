/** Puts a StatusReport together from the parts of a run. */
import { FIRST_SERVICE } from '../api/capture.ts';
import { formatPrefix } from '../capture/address.ts';
import type { Configuration, PortRange, ServiceConfiguration } from '../config/model.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { NameServiceStatus } from '../resolvers/name-report.ts';
import { VERSION } from '../version.ts';
import type { CapturePlan } from './capture-plan.ts';
import type { SelectionReport, ServiceReport, StatusReport } from './report.ts';

export interface StatusParts {
  readonly configuration: Configuration;
  readonly startedAt: number;
  readonly generation: number;
  readonly selection: SelectionReport;
  readonly dataPlane: DataPlane;
  /** What the interceptor itself counts. */
  readonly interceptorCounters: Readonly<Record<string, number>>;
  readonly plan: CapturePlan | undefined;
  /** Names of all services that this run has known. */
  readonly serviceTexts: ReadonlyMap<number, string>;
  readonly names: NameServiceStatus | undefined;
  readonly hostSteps: number;
  readonly drift: StatusReport['drift'] & { readonly found: number };
  readonly hostChanges: number;
}

export function statusOf(parts: StatusParts): Omit<StatusReport, 'state'> {
  const { configuration, dataPlane, names } = parts;
  return {
    version: VERSION,
    pid: process.pid,
    owner: configuration.owner,
    startedAt: parts.startedAt,
    ...(configuration.file === undefined ? {} : { configurationFile: configuration.file }),
    generation: parts.generation,
    selection: parts.selection,
    services: serviceReports(parts),
    workers: dataPlane.workerReports(),
    resolver: {
      listen: names?.listen ?? [],
      reach: names?.reach ?? 'none',
      reachReason: names?.reachReason ?? 'names are not served',
      upstreams: names?.upstreams ?? [],
      upstreamReports: names?.upstreamReports ?? [],
      names: names?.names ?? 0,
      realAddresses: names?.realAddresses ?? 0,
      pool: names?.pool ?? [],
      ...(names?.map === undefined ? {} : { map: names.map }),
      cache: names?.cache ?? { entries: 0, bytes: 0 },
      queries: names?.queries ?? [],
      selfTest: names?.selfTest ?? 'off',
      ...(names?.selfTestReason === undefined ? {} : { selfTestReason: names.selfTestReason }),
      counters: names?.counters ?? {},
    },
    counters: {
      ...parts.interceptorCounters,
      ...dataPlane.counters(),
      hostSteps: parts.hostSteps,
      hostChanges: parts.hostChanges,
      driftFound: parts.drift.found,
      driftRepaired: parts.drift.repaired,
    },
    drift: { repaired: parts.drift.repaired, last: parts.drift.last },
  };
}

function serviceReports({ plan, serviceTexts, dataPlane }: StatusParts): readonly ServiceReport[] {
  const reports: ServiceReport[] = [];
  const totals = dataPlane.serviceTotals();
  for (const [id, name] of serviceTexts) {
    if (id < FIRST_SERVICE) continue;
    const service = plan?.services.get(id);
    const counters = totals.of(id);
    // A removed service is reported as long as flows of it live.
    if (service === undefined && counters.active === 0) continue;
    reports.push({
      name,
      addresses: service === undefined ? [] : addressesOf(service),
      ports: service?.ports.map(portsText) ?? [],
      protocols: service?.protocols ?? [],
      dialers: service?.dialers ?? [],
      retiring: service === undefined,
      activeFlows: counters.active,
      totalFlows: counters.total,
      bytesUp: counters.bytesUp,
      bytesDown: counters.bytesDown,
    });
  }
  return reports;
}

function addressesOf(service: ServiceConfiguration): readonly string[] {
  return [...service.names, ...service.prefixes.map(formatPrefix)];
}

function portsText({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}
