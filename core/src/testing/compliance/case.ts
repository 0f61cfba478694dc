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

/** A case on a stage of its own. */
export function onStage(
  name: string,
  body: (stage: Stage) => Promise<void>,
  options: StageOptions & { readonly timeoutMs?: number } = {},
): ComplianceCase {
  return {
    name,
    timeoutMs: options.timeoutMs ?? 60_000,
    async run(environment) {
      await using stage = await Stage.create(environment, options);
      await body(stage);
    },
  };
}
