/**
 * One interceptor outside of an engine, in the thread's own network namespace: with what core would lend it, listeners at
 * the points that it asks for, and plan inputs from a few words. For tests of the hooks themselves.
 */
import { type CaptureSet, FIRST_SERVICE } from '../api/capture.ts';
import type { HostNumbers } from '../api/host.ts';
import type { Interceptor, InterceptorDefinition, PlanInput } from '../api/interceptor.ts';
import type { BoundPoint, PointSpec } from '../api/point.ts';
import { parsePrefix } from '../capture/address.ts';
import { compileCaptureSet, STATIC_EXCLUSIONS } from '../capture/compile.ts';
import { runPump } from '../engine/pump.ts';
import { hostFacts } from '../host/facts.ts';
import { numbersOf } from '../host/numbers.ts';
import { close, listen } from '../sys/libc.ts';
import { openSocket, socketName } from '../sys/sockets.ts';
import { MemoryChanges, SILENT } from './memory-changes.ts';

/** What a test asks to be captured: TCP to these prefixes and this port. */
export interface InstanceService {
  readonly prefixes: readonly string[];
  readonly port: number;
}

export class InterceptorInstance implements AsyncDisposable {
  readonly definition: InterceptorDefinition<never>;
  readonly interceptor: Interceptor;
  readonly host: MemoryChanges;
  readonly numbers: HostNumbers = numbersOf(0);
  readonly #options: unknown;
  #points: readonly BoundPoint[] = [];
  #generation = 0;
  #previous: CaptureSet | undefined;

  /** @param failAt the change of the host that fails, counted from 1; 0: none. */
  constructor(definition: InterceptorDefinition<never>, options: unknown = {}, failAt = 0) {
    this.definition = definition;
    this.host = new MemoryChanges(failAt);
    this.#options = options;
    const pump = (module: URL, data: unknown) => runPump(module, data, throwLater);
    const context = { owner: 'default', numbers: this.numbers, host: this.host, log: SILENT, pump };
    // A definition of `never` takes its own options; these have been validated by whoever wrote the test.
    this.interceptor = definition.create(context, options as never);
  }

  /** Provisions, and listens at every point. @returns what provision asked for. */
  async provision(signal: AbortSignal): Promise<readonly PointSpec[]> {
    const specs = await this.interceptor.provision(signal, []);
    this.#closePoints();
    this.#points = specs.map((spec) => {
      const { family, protocol } = spec.network;
      const { transparent, bind } = spec;
      const fd = openSocket({ family, protocol, mark: this.numbers.bypassMark, transparent, reusePort: true, bind });
      if (protocol === 'tcp') listen(fd, 16);
      return { ...spec, port: socketName(fd).port, fds: [fd] };
    });
    return specs;
  }

  /** What core would pass for these services, with a new generation. */
  input(services: readonly InstanceService[]): PlanInput {
    const facts = hostFacts();
    const set = compileCaptureSet({
      generation: ++this.#generation,
      services: services.map(({ prefixes, port }, index) => ({
        id: FIRST_SERVICE + index,
        service: {
          name: `service-${index}`,
          names: [],
          prefixes: prefixes.map(parsePrefix),
          ports: [{ first: port, last: port }],
          protocols: ['tcp'],
          sources: [],
        },
      })),
      exclude: [],
      builtins: [...STATIC_EXCLUSIONS, ...[...facts.ownAddresses, ...facts.connectedNetworks].map(parsePrefix)],
      ranges: [],
      rangeProtocols: [],
      canaries: [],
      scopes: { output: true },
      owners: { only: [], except: [] },
      ...(this.#previous === undefined ? {} : { previous: this.#previous }),
    });
    this.#previous = set;
    return {
      owner: 'default',
      set,
      points: this.#points,
      numbers: this.numbers,
      facts,
      onCrash: 'open',
      serviceNames: new Map(services.map((_, index) => [FIRST_SERVICE + index, `service-${index}`])),
    };
  }

  /** The plan of an input as text, one step after the other. */
  plan(input: PlanInput): string {
    const { steps } = this.definition.plan(input, this.#options as never);
    return steps.map(({ tool, text }) => `# ${tool}\n${text}\n`).join('');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.interceptor.stop();
    this.#closePoints();
  }

  #closePoints(): void {
    for (const { fds } of this.#points) for (const fd of fds) close(fd);
    this.#points = [];
  }
}

/** A pump that dies fails the test that it dies in. */
export function throwLater(error: Error): void {
  queueMicrotask(() => {
    throw error;
  });
}
