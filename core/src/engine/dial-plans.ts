/**
 * From dialers to what workers do: for each service the list of steps that its flows try in order. Route dialers publish
 * their routes and may publish again; every publication becomes a new plan.
 */
import type { Dialer, DialerDefinition, Route } from '../api/dialer.ts';
import { UnsupportedError } from '../api/errors.ts';
import type { Logger } from '../api/logger.ts';
import type { DialerConfiguration, ServiceConfiguration } from '../config/model.ts';
import type { HandshakeDialerPlace } from '../dataplane/handshake-dialers.ts';
import type { DialStep } from '../dataplane/messages.ts';

/** Places of the dialers that always exist, in the list of names. */
const BUILT_IN = ['direct', 'reset', 'drop'] as const;

interface PlannedService {
  readonly abort: AbortController;
  /** One list of steps per dialer of the service, in its order. */
  readonly parts: (readonly DialStep[])[];
}

/** A dialer of kind `stream`, for the stream worker that will run it. */
export interface StreamDialerPlace {
  readonly name: string;
  readonly module: URL;
  readonly options: unknown;
  readonly bypassMark: number;
}

export class DialPlans {
  readonly #names: string[] = [...BUILT_IN];
  readonly #dialers = new Map<string, { readonly dialer: Dialer; readonly index: number; readonly key: string }>();
  readonly #definitions: ReadonlyMap<string, DialerDefinition<never>>;
  readonly #streams = new Map<number, StreamDialerPlace>();
  readonly #handshakes: HandshakeDialerPlace[] = [];
  readonly #services = new Map<number, PlannedService>();
  readonly #log: Logger;
  readonly #mark: number;
  readonly #publish: (service: number, steps: readonly DialStep[]) => void;

  /**
   * @param mark fwmark of Weir's own sockets; 0 for none
   * @param publish called when the plan of a service changes after `plan` has returned.
   */
  constructor(
    definitions: ReadonlyMap<string, DialerDefinition<never>>,
    log: Logger,
    mark: number,
    publish: (service: number, steps: readonly DialStep[]) => void,
  ) {
    this.#definitions = definitions;
    this.#log = log;
    this.#mark = mark;
    this.#publish = publish;
  }

  /** What stands in records: the name of the dialer at a place. */
  nameOf(index: number): string | undefined {
    return this.#names[index];
  }

  /** A configured dialer; undefined for those that always exist. */
  dialer(name: string): Dialer | undefined {
    return this.#dialers.get(name)?.dialer;
  }

  streamDialer(index: number): StreamDialerPlace | undefined {
    return this.#streams.get(index);
  }

  /** For the workers: every handshake dialer of this run. */
  get handshakeDialers(): readonly HandshakeDialerPlace[] {
    return this.#handshakes;
  }

  /**
   * Makes the configured dialers; those that are configured as before are kept.
   * @throws UnsupportedError for a type that nothing registered.
   */
  configure(dialers: readonly DialerConfiguration[]): void {
    for (const { name, type, options } of dialers) {
      const key = JSON.stringify([type, options]);
      if (this.#dialers.get(name)?.key === key) continue;
      const definition = this.#definitions.get(type);
      if (definition === undefined) {
        throw new UnsupportedError({
          problem: `The dialer ${name} is of type ${type}, which nothing registered.`,
          remedy: `Use one of ${[...this.#definitions.keys()].join(', ')}, or load the plugin that brings it.`,
        });
      }
      const context = { name, log: this.#log.child({ dialer: name }), bypassMark: this.#mark };
      const dialer = definition.create(options as never, context);
      const index = this.#names.push(name) - 1;
      if (definition.kind === 'handshake') {
        this.#handshakes.push({ index, name, module: definition.module.href, options, bypassMark: this.#mark });
      } else if (definition.kind === 'stream') {
        this.#streams.set(index, { name, module: definition.module, options, bypassMark: this.#mark });
      }
      this.#dialers.set(name, { dialer, index, key });
    }
  }

  /** The plan of a service now; later publications go to `publish`. Replaces an earlier plan of the same id. */
  plan(id: number, service: ServiceConfiguration): readonly DialStep[] {
    this.forget(id);
    if (service.dialers.every((name) => !this.#dialers.has(name))) return builtInSteps(service.dialers);
    const abort = new AbortController();
    const planned: PlannedService = { abort, parts: service.dialers.map(() => []) };
    this.#services.set(id, planned);
    let settled = false;
    for (const [place, name] of service.dialers.entries()) {
      const configured = this.#dialers.get(name);
      if (configured === undefined) {
        planned.parts[place] = [builtInStep(name)];
        continue;
      }
      const { dialer, index } = configured;
      if (dialer.kind === 'stream') {
        planned.parts[place] = [{ kind: 'stream', dialer: index }];
        continue;
      }
      const publish = (routes: readonly Route[]): void => {
        if (abort.signal.aborted) return;
        planned.parts[place] = routes.map((route) => ({ kind: dialer.kind, dialer: index, ...route }));
        if (settled) this.#publish(id, planned.parts.flat());
      };
      dialer.routes({ name: service.name, protocols: service.protocols }, publish, abort.signal);
    }
    settled = true;
    return planned.parts.flat();
  }

  /** Ends the publications of a service. */
  forget(id: number): void {
    this.#services.get(id)?.abort.abort();
    this.#services.delete(id);
  }

  async close(): Promise<void> {
    for (const id of this.#services.keys()) this.forget(id);
    for (const { dialer } of this.#dialers.values()) if (dialer.kind === 'stream') await dialer.close();
    this.#dialers.clear();
  }
}

/** `direct`, `reset` and `drop` need no configuration. */
export function builtInStep(name: string): DialStep {
  if (name === 'reset') return RESET;
  if (name === 'drop') return DROP;
  return DIRECT;
}

const RESET: DialStep = { kind: 'reset', dialer: 1 };
const DROP: DialStep = { kind: 'drop', dialer: 2 };
const DIRECT: DialStep = { kind: 'route', dialer: 0 };

/** One list for all services that do the same: thousands of them go to the workers as one. */
function builtInSteps(names: readonly string[]): readonly DialStep[] {
  const key = names.join(' ');
  let steps = KNOWN_STEPS.get(key);
  if (steps === undefined) KNOWN_STEPS.set(key, (steps = names.map(builtInStep)));
  return steps;
}

/** Of lists of `direct`, `reset` and `drop`, of which each stands in a list once: fifteen at most. */
const KNOWN_STEPS = new Map<string, readonly DialStep[]>();
