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
}

/** What becomes of the source address of a local flow; `preservesSource` of a mechanism's capabilities says which. */
export type SourceHandling = 'kept source' | 'own source';

/** Cases that say something about another kind of mechanism, and why each is none for this one. */
export interface LeftOutCase {
  readonly name: string;
  readonly reason: string;
}

/** The cases that hold for a mechanism with these capabilities, and those that do not, each with its reason. */
export function casesByCapability(
  cases: readonly ComplianceCase[],
  { preservesSource }: Pick<Capabilities, 'preservesSource'>,
): { readonly held: readonly ComplianceCase[]; readonly leftOut: readonly LeftOutCase[] } {
  const handling: SourceHandling = preservesSource ? 'kept source' : 'own source';
  const isHeld = ({ holdsFor }: ComplianceCase) => holdsFor === undefined || holdsFor === handling;
  const reason = preservesSource
    ? 'local flows keep their source with this mechanism (preservesSource)'
    : "local flows get Weir's own source with this mechanism, and sockets with a source of their own are not captured";
  return {
    held: cases.filter(isHeld),
    leftOut: cases.filter((each) => !isHeld(each)).map(({ name }) => ({ name, reason })),
  };
}

/** A case on a stage of its own, with what it was made of. */
export interface StagedCase extends ComplianceCase {
  readonly body: (stage: Stage) => Promise<void>;
  readonly options: StageOptions & { readonly timeoutMs?: number; readonly holdsFor?: SourceHandling };
}

/** A case on a stage of its own. */
export function onStage(name: string, body: StagedCase['body'], options: StagedCase['options'] = {}): StagedCase {
  return {
    name,
    timeoutMs: options.timeoutMs ?? 60_000,
    ...(options.holdsFor === undefined ? {} : { holdsFor: options.holdsFor }),
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
  return cases.map(({ name, body, options: { holdsFor: _holdsFor, ...options } }) =>
    onStage(`forwarded: ${name}`, body, { ...options, scope: 'forward' }),
  );
}
