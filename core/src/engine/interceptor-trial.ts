/** One candidate of a selection, from leftovers to canary, and back when it does not work. */
import type { Canary } from '../api/capture.ts';
import type { HostNumbers } from '../api/host.ts';
import { NotPermittedError } from '../api/errors.ts';
import type { Interceptor, InterceptorContext, InterceptorDefinition, PlanInput } from '../api/interceptor.ts';
import type { ServiceListener } from '../api/listener.ts';
import type { Logger } from '../api/logger.ts';
import type { BoundPoint } from '../api/point.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { HostChangeJournal } from '../host/change.ts';
import type { CanaryWatch } from './canary.ts';
import { runPump } from './pump.ts';
import type { Trial } from './selection.ts';

export interface InterceptorTrialParts {
  readonly owner: string;
  readonly numbers: HostNumbers;
  readonly journal: HostChangeJournal;
  readonly dataPlane: DataPlane;
  readonly canaryWatch: CanaryWatch;
  readonly canaries: readonly Canary[];
  /** False where this process may not set the bypass mark. */
  readonly marked: boolean;
  readonly listeners: readonly ServiceListener[];
  /** Options of interceptors by id, already validated. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly planInput: (points: readonly BoundPoint[]) => PlanInput;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** A thread of the interceptor that runs has ended. */
  readonly fatal: (error: Error) => void;
}

export class InterceptorTrial implements Trial {
  readonly #parts: InterceptorTrialParts;

  constructor(parts: InterceptorTrialParts) {
    this.#parts = parts;
  }

  create(definition: InterceptorDefinition<never>): Interceptor {
    const { owner, numbers, journal, log, options, fatal } = this.#parts;
    const context: InterceptorContext = {
      owner,
      numbers,
      host: journal,
      log: log.child({ interceptor: definition.id }),
      pump: (module, data) => runPump(module, data, fatal),
    };
    return definition.create(context, (options[definition.id] ?? {}) as never);
  }

  async run(definition: InterceptorDefinition<never>, interceptor: Interceptor): Promise<void> {
    const { dataPlane, canaryWatch, canaries, listeners, marked, numbers, signal } = this.#parts;
    try {
      if (definition.capabilities.transparent && !marked) {
        throw new NotPermittedError({
          problem: `${definition.id} would capture Weir's own connections: this process may not set the mark that keeps them out.`,
          remedy: 'Run Weir as root, or give it CAP_NET_ADMIN or CAP_NET_RAW.',
        });
      }
      const points = dataPlane.open(await interceptor.provision(signal, listeners));
      dataPlane.listen();
      signal.throwIfAborted();
      await interceptor.start(this.#parts.planInput(points), signal);
      if (definition.capabilities.transparent && definition.capabilities.scopes.includes('output')) {
        const { networks } = definition.capabilities;
        const captured = canaries.filter(({ family, protocol }) =>
          networks.some((network) => network.family === family && network.protocol === protocol),
        );
        await canaryWatch.prove(captured, numbers.bypassMark, signal);
      }
    } catch (error) {
      await this.#rollBack(interceptor);
      throw error;
    }
  }

  /** A failed roll-back hides what it rolled back from: it is the worse of the two. */
  async #rollBack(interceptor: Interceptor): Promise<void> {
    const { dataPlane, journal } = this.#parts;
    try {
      await interceptor.stop();
      await journal.undoAll();
    } finally {
      dataPlane.closePoints();
    }
  }
}
