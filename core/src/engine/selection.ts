/**
 * Which interceptor a run gets. Candidates are tried by priority: suitable, probed, leftovers cleaned, provisioned,
 * started, proved by the canary. `UnsupportedError` and `IneffectiveError` go on to the next one after a clean roll-back;
 * any other failure ends the chain. A named interceptor never falls back; a list is `auto` over exactly these.
 */
import { isWeirError, SelectionError } from '../api/errors.ts';
import type { Interceptor, InterceptorDefinition, MissingRequirement, ProbeResult } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import type { Configuration } from '../config/model.ts';
import type { SelectionEntry, SelectionOutcome, SelectionReport } from './report.ts';
import { listenerFault } from './service-listeners.ts';

/** Said of a selected one that captures forwarded traffic. */
const UNPROVEN = 'forwarded traffic is not proven by a test flow, which would have to come from outside';

/** What a candidate needs to be tried; the engine implements it. */
export interface Trial {
  /** Makes an instance; nothing of the host changes. */
  create(definition: InterceptorDefinition<never>): Interceptor;
  /** Removes leftovers, provisions, opens points, starts and proves. On failure everything is rolled back first. */
  run(definition: InterceptorDefinition<never>, interceptor: Interceptor): Promise<void>;
}

export interface Selected {
  readonly definition: InterceptorDefinition<never>;
  readonly interceptor: Interceptor;
  readonly report: SelectionReport;
}

/** Thrown when nothing could start; the report tells why for each candidate. */
export class NoInterceptorError extends SelectionError {
  readonly report: SelectionReport;

  constructor(report: SelectionReport, cause?: unknown) {
    const tried = report.entries.map(({ interceptor, outcome }) => `${interceptor} ${outcome}`).join(', ');
    super({
      problem: `No interceptor could start: ${tried}.`,
      remedy: 'Follow the remedies of the selection report; `weir doctor` looks at every one of them.',
      cause,
    });
    this.report = report;
  }
}

/** The candidates of a configuration, in the order in which they are tried. */
export function candidatesOf(
  configuration: Configuration,
  definitions: ReadonlyArray<InterceptorDefinition<never>>,
): ReadonlyArray<InterceptorDefinition<never>> {
  if (configuration.interceptor === 'auto') return definitions.filter((definition) => definition.built !== false);
  return configuration.interceptor.map((id) => {
    const found = definitions.find((definition) => definition.id === id);
    if (found !== undefined) return found;
    throw new SelectionError({
      problem: `There is no interceptor ${id}.`,
      remedy: `Choose one of ${definitions.map((definition) => definition.id).join(', ')}, or install its package.`,
    });
  });
}

/** The first candidate that can do what a configuration wants. @throws SelectionError that says why each cannot. */
export function suitable(
  configuration: Configuration,
  definitions: ReadonlyArray<InterceptorDefinition<never>>,
): InterceptorDefinition<never> {
  const candidates = candidatesOf(configuration, definitions);
  const found = candidates.find((candidate) => unsuitable(candidate, configuration) === undefined);
  if (found !== undefined) return found;
  const reasons = candidates.map((candidate) => `${candidate.id}: ${unsuitable(candidate, configuration)}`);
  throw new SelectionError({
    problem: `No interceptor fits this configuration (${reasons.join('; ')}).`,
    remedy: 'Change addresses, scopes, protocols, require or interceptor.',
  });
}

/** Why this run cannot use a mechanism, or undefined when it can. */
export function unsuitable(definition: InterceptorDefinition<never>, configuration: Configuration): string | undefined {
  const { capabilities } = definition;
  const { capture, require } = configuration;
  // Without capture only what has a listener is reached.
  const services = capabilities.transparent
    ? configuration.services
    : configuration.services.filter(({ listen }) => listen !== undefined);
  for (const scope of capture.scopes) {
    const wanted = capabilities.transparent ? scope : 'explicit';
    if (!capabilities.scopes.includes(wanted)) return `it cannot capture ${scope} traffic`;
  }
  for (const protocol of new Set(services.flatMap((service) => service.protocols))) {
    if (!capabilities.networks.some((network) => network.protocol === protocol)) return `it cannot capture ${protocol}`;
  }
  const prefixes = services.flatMap((service) => service.prefixes);
  for (const family of new Set(capabilities.transparent ? prefixes.map((prefix) => prefix.family) : [])) {
    if (!capabilities.networks.some((network) => network.family === family)) return `it cannot capture IPv${family}`;
  }
  if (require.includes('transparent') && !capabilities.transparent) return 'it is not transparent, which is required';
  if (require.includes('udp') && !capabilities.networks.some((network) => network.protocol === 'udp')) {
    return 'it cannot capture udp, which is required';
  }
  if (require.includes('ipv6') && !capabilities.networks.some((network) => network.family === 6)) {
    return 'it cannot capture IPv6, which is required';
  }
  if (require.includes('forward') && !capabilities.scopes.includes('forward')) {
    return 'it cannot capture forwarded traffic, which is required';
  }
  for (const match of [...capture.only, ...capture.except]) {
    if (!capabilities.owners.includes(match.kind)) return `it cannot tell processes by ${match.kind}`;
  }
  if (capabilities.transparent) return undefined;
  if (services.length === 0) return 'it captures nothing by itself, and no service has `listen:`';
  const faults = services.map((service) => listenerFault(service, configuration.dialers));
  return faults.find((fault) => fault !== undefined);
}

/**
 * Tries the candidates.
 * @throws NoInterceptorError when none is left; whatever a candidate threw that does not allow another one.
 */
export async function select(
  configuration: Configuration,
  definitions: ReadonlyArray<InterceptorDefinition<never>>,
  trial: Trial,
  log: Logger,
  signal: AbortSignal,
): Promise<Selected> {
  const candidates = candidatesOf(configuration, definitions);
  const entries: SelectionEntry[] = [];
  const enter = (
    definition: InterceptorDefinition<never>,
    outcome: SelectionOutcome,
    reason: string,
    more: Partial<Pick<SelectionEntry, 'missing' | 'remedy'>> = {},
  ): void => {
    const { id: interceptor, priority } = definition;
    entries.push({ interceptor, priority, outcome, reason, missing: [], ...more });
  };
  let last: unknown;

  for (const [place, definition] of candidates.entries()) {
    signal.throwIfAborted();
    const reason = unsuitable(definition, configuration);
    if (reason !== undefined) {
      enter(definition, 'not-suitable', reason);
      continue;
    }
    const interceptor = trial.create(definition);
    const probe = await interceptor.probe(signal);
    if (probe.verdict === 'unsupported') {
      const { missing } = probe;
      enter(definition, 'unsupported', missingText(missing), { missing });
      const remedy = missing.map((one) => one.remedy).join(' ');
      log.warn(
        { interceptor: definition.id, remedy },
        `${definition.id} initialization failed: ${missingText(missing)}`,
      );
      await interceptor.stop();
      continue;
    }
    try {
      await trial.run(definition, interceptor);
    } catch (error) {
      last = error;
      const told = isWeirError(error);
      const text = told ? error.problem : String(error);
      const more = told ? { remedy: error.remedy } : {};
      log.warn({ interceptor: definition.id, ...more }, `${definition.id} initialization failed: ${text}`);
      if (told && error.code === 'WEIR_UNSUPPORTED') {
        enter(definition, probe.verdict === 'inconclusive' ? 'inconclusive' : 'unsupported', text, more);
        continue;
      }
      if (told && error.code === 'WEIR_INEFFECTIVE') {
        enter(definition, 'ineffective', text, more);
        continue;
      }
      enter(definition, 'failed', text, more);
      for (const rest of candidates.slice(place + 1)) enter(rest, 'not-tried', `${definition.id} failed`);
      logReport(log, { entries, transparent: false });
      throw error;
    }
    const { transparent } = definition.capabilities;
    const unproven = transparent && configuration.capture.scopes.includes('forward') ? (['forward'] as const) : [];
    enter(definition, 'selected', [factsText(probe), ...unproven.map(() => UNPROVEN)].join('; '));
    for (const rest of candidates.slice(place + 1)) enter(rest, 'not-tried', `${definition.id} was selected`);
    log.info({ interceptor: definition.id }, `using ${definition.id} interceptor`);
    const report: SelectionReport = { entries, selected: definition.id, transparent, unproven };
    logReport(log, report);
    if (!transparent) {
      const unreachable = configuration.services.filter(({ listen }) => listen === undefined).map(({ name }) => name);
      log.warn(
        { interceptor: definition.id, transparent, ...(unreachable.length > 0 ? { unreachable } : {}) },
        `${definition.id} captures nothing: applications must connect to its listeners`,
      );
    }
    return { definition, interceptor, report };
  }
  const report: SelectionReport = { entries, transparent: false };
  logReport(log, report);
  throw new NoInterceptorError(report, last);
}

/** The whole report as one line for programs that read the log. */
function logReport(log: Logger, report: SelectionReport): void {
  const outcomes = report.entries.map(({ interceptor, outcome }) => `${interceptor} ${outcome}`);
  log.info({ event: 'selection', ...report }, `selection: ${outcomes.join(', ')}`);
}

function missingText(missing: readonly MissingRequirement[]): string {
  return `needs ${missing.map(({ name }) => name).join(', ')}`;
}

function factsText(probe: ProbeResult): string {
  if (probe.verdict === 'inconclusive') return `the probe could not tell: ${probe.cause}`;
  if (probe.verdict === 'unsupported') return missingText(probe.missing);
  return Object.entries(probe.facts)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}
