/** One named thing that every interceptor must do. Runs without any test runner: it throws when it is not so. */
import type { Capabilities } from '../../api/interceptor.ts';
import { Stage, type ComplianceEnvironment, type StageOptions } from './stage.ts';

export interface ComplianceCase {
  /** A sentence about behaviour. Unique. */
  readonly name: string;
  /** How long it may take, in milliseconds. */
  readonly timeoutMs: number;
  /** @throws Error, mostly AssertionError, when the interceptor does not do it. */
  readonly run: (environment: ComplianceEnvironment) => Promise<void>;
  /** Where mechanisms may differ: of two cases one holds for each. Absent: it holds for all. */
  readonly holdsFor?: SourceHandling;
  /** Why mechanisms that capture by routes, and give local flows a source of their own, cannot hold it. */
  readonly notByRoutes?: string;
  /** It is about a host that passes nothing on. */
  readonly closedGateway?: boolean;
  /** Connections that pass through from before go on: the mechanism knows flows, or passes packets on itself. */
  readonly olderPassOn?: boolean;
  /** Processes are chosen by this. */
  readonly owners?: Capabilities['owners'][number];
}

/** What becomes of the source address of a local flow; `preservesSource` of a mechanism's capabilities says which. */
export type SourceHandling = 'kept source' | 'own source';

/** Cases that say something about another kind of mechanism, and why each is none for this one. */
export interface LeftOutCase {
  readonly name: string;
  readonly reason: string;
}

/**
 * The cases that hold for a mechanism with these capabilities, and those that do not, each with its reason.
 * @param environment what the mechanism needs of a host.
 */
export function casesByCapability(
  cases: readonly ComplianceCase[],
  { preservesSource, owners }: Pick<Capabilities, 'preservesSource' | 'owners'>,
  { needsForwarding = false }: Pick<ComplianceEnvironment, 'needsForwarding'> = {},
): { readonly held: readonly ComplianceCase[]; readonly leftOut: readonly LeftOutCase[] } {
  const reasonOf = (each: ComplianceCase): string | undefined => {
    const { holdsFor, notByRoutes, closedGateway, olderPassOn } = each;
    if (each.owners !== undefined && !owners.includes(each.owners)) return `it cannot tell processes by ${each.owners}`;
    if (preservesSource && holdsFor === 'own source') {
      return 'local flows keep their source with this mechanism (preservesSource)';
    }
    if (!preservesSource && holdsFor === 'kept source') {
      return "local flows get Weir's own source with this mechanism, and sockets with a source of their own are not captured";
    }
    if (!preservesSource && notByRoutes !== undefined) return notByRoutes;
    if (!preservesSource && !needsForwarding && olderPassOn) {
      return 'what is delivered to this host cannot be passed on any more: what passes through from before is cut';
    }
    return needsForwarding && closedGateway
      ? 'the host must pass packets on; otherwise the start is refused'
      : undefined;
  };
  const judged = cases.map((each) => ({ each, reason: reasonOf(each) }));
  return {
    held: judged.filter(({ reason }) => reason === undefined).map(({ each }) => each),
    leftOut: judged.flatMap(({ each: { name }, reason }) => (reason === undefined ? [] : [{ name, reason }])),
  };
}

/** A case on a stage of its own, with what it was made of. */
export interface StagedCase extends ComplianceCase {
  readonly body: (stage: Stage) => Promise<void>;
  readonly options: StageOptions &
    Partial<
      Pick<ComplianceCase, 'timeoutMs' | 'holdsFor' | 'notByRoutes' | 'closedGateway' | 'olderPassOn' | 'owners'>
    > & {
      /** As `notByRoutes`, for the case as one of forwarded traffic. */
      readonly forwardedNotByRoutes?: string;
    };
}

/** A case on a stage of its own. */
export function onStage(name: string, body: StagedCase['body'], options: StagedCase['options'] = {}): StagedCase {
  return {
    name,
    timeoutMs: options.timeoutMs ?? 60_000,
    ...(options.holdsFor === undefined ? {} : { holdsFor: options.holdsFor }),
    ...(options.notByRoutes === undefined ? {} : { notByRoutes: options.notByRoutes }),
    ...(options.closedGateway === undefined ? {} : { closedGateway: options.closedGateway }),
    ...(options.olderPassOn === undefined ? {} : { olderPassOn: options.olderPassOn }),
    ...(options.owners === undefined ? {} : { owners: options.owners }),
    async run(environment) {
      await using stage = await Stage.create(environment, options);
      await body(stage);
    },
    body,
    options,
  };
}

/** The same cases with their clients behind the host, whose source every mechanism keeps. */
export function forwarded(cases: readonly StagedCase[]): readonly StagedCase[] {
  return cases.map(({ name, body, options: { holdsFor: _holdsFor, forwardedNotByRoutes, ...options } }) =>
    onStage(`forwarded: ${name}`, body, {
      ...options,
      ...(forwardedNotByRoutes === undefined ? {} : { notByRoutes: forwardedNotByRoutes }),
      scope: 'forward',
    }),
  );
}
