/**
 * Definitions of plugins, watched: what their functions return is checked where it is returned, so that a fault of a
 * plugin is told with its name and its field, and not as a TypeError somewhere in core.
 */
import type { DialerDefinition } from '../api/dialer.ts';
import { isWeirError, PluginError } from '../api/errors.ts';
import type { InterceptorDefinition, Plan } from '../api/interceptor.ts';
import type { ResolverDefinition } from '../api/resolver.ts';
import type { StandardResult, StandardSchema } from '../api/schema.ts';

const INTERCEPTOR_HOOKS = ['probe', 'provision', 'start', 'update', 'verify', 'repair', 'drain', 'stop'];
const DIALER_FUNCTIONS = {
  route: ['routes'],
  handshake: ['routes', 'handshake'],
  stream: ['dial', 'close'],
} as const;

type Fields = Readonly<Record<string, unknown>>;

/** What a function of a plugin is called in an error, e.g. `The plugin ./x.js is not usable: interceptor x: plan …`. */
class Guard {
  readonly #source: string;
  readonly #what: string;

  constructor(source: string, what: string) {
    this.#source = source;
    this.#what = what;
  }

  fail(what: string, remedy: string, cause?: unknown): never {
    const problem = `The plugin ${this.#source} is not usable: ${this.#what}: ${what}.`;
    throw new PluginError({ problem, remedy, cause });
  }

  /** Errors of Weir pass: they have a remedy of their own. */
  threw(field: string, error: unknown): never {
    if (isWeirError(error)) throw error;
    const text = (error instanceof Error ? error.message : String(error)).split('\n')[0]?.replace(/\.$/, '');
    this.fail(`${field} threw "${text}"`, 'Throw a WeirError with a remedy, or mend the plugin.', error);
  }

  call<T>(field: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      return this.threw(field, error);
    }
  }

  list<T>(field: string, run: () => readonly T[]): readonly T[] {
    const value: unknown = this.call(field, run);
    if (!Array.isArray(value)) this.fail(`${field} returned no list`, `Return a list from ${field}, perhaps empty.`);
    return value as readonly T[];
  }

  instance<T>(run: () => T, functions: readonly string[]): T {
    const value = this.call('create', run);
    if (typeof value !== 'object' || value === null) {
      this.fail('create returned no object', `Return an object with ${functions.join(', ')}; create is not async.`);
    }
    for (const name of functions) {
      if (typeof (value as Fields)[name] === 'function') continue;
      this.fail(`create(…).${name} is no function`, `Implement ${name} as the contract in @weir/core says.`);
    }
    return value;
  }

  schema(options: StandardSchema): StandardSchema {
    const standard = options['~standard'];
    const validate = async (value: unknown): Promise<StandardResult<unknown>> => {
      let result: StandardResult<unknown>;
      try {
        result = await standard.validate(value);
      } catch (error) {
        return this.threw('options["~standard"].validate', error);
      }
      const { issues } = (result ?? {}) as { readonly issues?: unknown };
      const told = Array.isArray(issues) && issues.every((issue) => typeof (issue as Fields)?.['message'] === 'string');
      if (told || (issues === undefined && typeof result === 'object' && 'value' in result)) return result;
      const remedy = 'Return { value }, or { issues: [{ message, path }] }.';
      return this.fail('options["~standard"].validate returned neither a value nor issues', remedy);
    };
    return { '~standard': { version: 1, vendor: standard.vendor, validate } };
  }
}

/** @param source the package name or path by which the plugin was loaded */
export function guardedInterceptor(
  definition: InterceptorDefinition<never>,
  source: string,
): InterceptorDefinition<never> {
  const { id, priority, built, capabilities, module } = definition;
  const guard: Guard = new Guard(source, `interceptor ${id}`);
  return {
    id,
    priority,
    capabilities,
    module,
    ...(built === undefined ? {} : { built }),
    options: guard.schema(definition.options),
    points: (...args) => guard.list('points', () => definition.points(...args)),
    plan(...args) {
      const plan = guard.call('plan', () => definition.plan(...args));
      if (!Array.isArray((plan as Partial<Plan> | undefined)?.steps)) {
        guard.fail('plan returned no steps', 'Return { interceptor, steps: [{ tool, text }] }; plan is not async.');
      }
      return plan;
    },
    create: (...args) => guard.instance(() => definition.create(...args), INTERCEPTOR_HOOKS),
    async cleanUp(context) {
      let removed: unknown;
      try {
        removed = await definition.cleanUp(context);
      } catch (error) {
        return guard.threw('cleanUp', error);
      }
      return guard.list('cleanUp', () => removed as readonly string[]);
    },
  };
}

export function guardedDialer(definition: DialerDefinition<never>, source: string): DialerDefinition<never> {
  const { type, kind, module, protocols } = definition;
  const guard: Guard = new Guard(source, `dialer ${type}`);
  return {
    type,
    kind,
    module,
    ...(protocols === undefined ? {} : { protocols }),
    options: guard.schema(definition.options),
    create(...args) {
      const dialer = guard.instance(() => definition.create(...args), DIALER_FUNCTIONS[kind]);
      if (dialer.kind !== kind) {
        guard.fail(`create(…).kind is not "${kind}"`, "Give both the same kind, the definition's.");
      }
      return dialer;
    },
  };
}

export function guardedResolver(definition: ResolverDefinition<never>, source: string): ResolverDefinition<never> {
  const { id, priority, module } = definition;
  const guard: Guard = new Guard(source, `resolver ${id}`);
  return {
    id,
    priority,
    module,
    options: guard.schema(definition.options),
    create: (...args) => guard.instance(() => definition.create(...args), ['answer']),
  };
}
