/** One named thing that every interceptor must do. Runs without any test runner: it throws when it is not so. */
import { Stage, type ComplianceEnvironment, type StageOptions } from './stage.ts';

export interface ComplianceCase {
  /** A sentence about behaviour. Unique. */
  readonly name: string;
  /** How long it may take, in milliseconds. */
  readonly timeoutMs: number;
  /** @throws Error, mostly AssertionError, when the interceptor does not do it. */
  readonly run: (environment: ComplianceEnvironment) => Promise<void>;
}

/** A case on a stage of its own, with what it was made of. */
export interface StagedCase extends ComplianceCase {
  readonly body: (stage: Stage) => Promise<void>;
  readonly options: StageOptions & { readonly timeoutMs?: number };
}

/** A case on a stage of its own. */
export function onStage(name: string, body: StagedCase['body'], options: StagedCase['options'] = {}): StagedCase {
  return {
    name,
    timeoutMs: options.timeoutMs ?? 60_000,
    async run(environment) {
      await using stage = await Stage.create(environment, options);
      await body(stage);
    },
    body,
    options,
  };
}

/** The same cases with their clients behind the host. */
export function forwarded(cases: readonly StagedCase[]): readonly StagedCase[] {
  return cases.map(({ name, body, options }) => onStage(`forwarded: ${name}`, body, { ...options, scope: 'forward' }));
}
