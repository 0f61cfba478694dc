/**
 * What core may rely on when it calls an interceptor's hooks, without an engine and without traffic. Each case leaves the
 * calling thread in a fresh network namespace: run them in a process that is for nothing else.
 */
import { strict as assert } from 'node:assert';
import type { InterceptorDefinition, PlanInput } from '../../api/interceptor.ts';
import { descriptorsOf, openedSince } from '../descriptors.ts';
import { normaliseState, STATE_SCRIPT } from '../host-state.ts';
import { InterceptorInstance, type InstanceService } from '../interceptor-instance.ts';
import { enterFreshNamespace, shell } from '../thread-namespace.ts';

export interface HookEnvironment {
  readonly definition: InterceptorDefinition<never>;
  /** Validated already. Default: none. */
  readonly options?: unknown;
}

export interface HookCase {
  readonly name: string;
  readonly timeoutMs: number;
  /** @throws Error, mostly AssertionError, when the interceptor does not do it. */
  readonly run: (environment: HookEnvironment) => Promise<void>;
}

const WEB: InstanceService = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], port: 80 };
const DATABASE: InstanceService = { prefixes: ['198.51.100.0/24'], port: 5432 };
const OUT_OF_STEPS = 200;

const ENOUGH = new Error('enough');

const live = () => new AbortController().signal;
const state = () => normaliseState(shell(STATE_SCRIPT));

/** A case in a fresh namespace with an uplink, after which namespace and descriptors are as before. */
function inNamespace(
  name: string,
  body: (environment: HookEnvironment, before: string) => Promise<void>,
  timeoutMs = 30_000,
): HookCase {
  return {
    name,
    timeoutMs,
    async run(environment) {
      enterFreshNamespace({ uplink: true });
      const before = state();
      // Once for what is opened on first use and kept: libraries, caches.
      await new InterceptorInstance(environment.definition, environment.options).interceptor.probe(live());
      const open = descriptorsOf();
      await body(environment, before).catch((error: unknown) => {
        throw withoutDisposal(error);
      });
      assert.equal(state(), before, 'the host is as it was');
      assert.deepEqual(openedSince(open, descriptorsOf()), [], 'no descriptor is left');
    },
  };
}

/** What a case threw, and not what went wrong in `stop` after it as a consequence. */
function withoutDisposal(error: unknown): unknown {
  let first = error as { readonly name?: string; readonly suppressed?: unknown } | undefined;
  while (first?.name === 'SuppressedError') first = first.suppressed as typeof first;
  return first;
}

/** What a hook must do whose signal is aborted already. */
async function refused(hook: string, call: Promise<unknown>): Promise<void> {
  const thrown = await call.then(
    () => undefined,
    (error: unknown) => String(error),
  );
  assert.notEqual(thrown, undefined, `${hook} went on after its signal was aborted`);
  assert.match(String(thrown), /enough/, `${hook} did not throw the reason of its aborted signal, but ${thrown}`);
}

async function undrifted({ interceptor }: InterceptorInstance, after: string): Promise<void> {
  const drift = await interceptor.verify(live());
  assert.deepEqual(drift, [], `after ${after} verify found ${JSON.stringify(drift)}`);
}

function make({ definition, options }: HookEnvironment, failAt = 0): InterceptorInstance {
  return new InterceptorInstance(definition, options, failAt);
}

async function started(environment: HookEnvironment): Promise<readonly [InterceptorInstance, PlanInput]> {
  const instance = make(environment);
  await instance.provision(live());
  const input = instance.input([WEB]);
  await instance.interceptor.start(input, live());
  return [instance, input];
}

export const HOOK_CASES: readonly HookCase[] = [
  inNamespace('a probe is conclusive here, gives facts and changes nothing', async (environment, before) => {
    await using instance = make(environment);
    const result = await instance.interceptor.probe(live());
    assert.equal(result.verdict, 'supported', JSON.stringify(result));
    assert.equal(state(), before, 'probe changed the host');
    assert.equal(instance.host.count, 0, 'probe changed the host through core');
  }),

  inNamespace(
    'provision asks for the points that the definition foretells, and steers nothing',
    async (environment) => {
      await using instance = make(environment);
      const input = instance.input([WEB]);
      const specs = await instance.provision(live());
      const foretold = environment.definition.points(input.facts, [], {
        numbers: instance.numbers,
        options: environment.options ?? {},
      });
      const key = (specs_: typeof specs) =>
        specs_.map(({ id, network, bind, transparent }) => ({ id, network, bind, transparent }));
      assert.deepEqual(key(specs), key(foretold));
      assert.notEqual(specs.length, 0, 'provision asked for no point');
    },
  ),

  inNamespace('after start verify finds nothing, and after stop the host is as it was', async (environment, before) => {
    const [instance] = await started(environment);
    await using _ = instance;
    assert.notEqual(state(), before, 'start changes something');
    await undrifted(instance, 'start');
    await instance.interceptor.stop();
    assert.equal(state(), before, 'stop left something');
    assert.deepEqual(instance.host.made, [], 'every change has been undone through core');
  }),

  inNamespace('a plan is the same for the same input, and another for another', async (environment) => {
    const [instance, input] = await started(environment);
    await using _ = instance;
    assert.equal(instance.plan(input), instance.plan({ ...input }), 'plan differs for the same input');
    const other = instance.plan(instance.input([WEB, DATABASE]));
    assert.notEqual(instance.plan(input), other, 'plan is the same for one service and for two');
  }),

  inNamespace('stop works twice, without a start, and after provision alone', async (environment) => {
    await using instance = make(environment);
    await instance.interceptor.stop();
    await instance.provision(live());
    await instance.interceptor.stop();
    await instance.provision(live());
    await instance.interceptor.start(instance.input([WEB]), live());
    await instance.interceptor.stop();
    await instance.interceptor.stop();
  }),

  inNamespace('a failure at each change of start leaves the host as it was', async (environment, before) => {
    let failAt = 1;
    for (; failAt < OUT_OF_STEPS; failAt++) {
      await using instance = make(environment, failAt);
      const start = async () => {
        await instance.provision(live());
        await instance.interceptor.start(instance.input([WEB]), live());
      };
      const failed = await start().then(
        () => false,
        () => true,
      );
      if (!failed) break;
      await instance.interceptor.stop();
      assert.equal(state(), before, `a failure at change ${failAt}`);
    }
    assert.ok(failAt > 1, 'start changes the host through core');
    assert.ok(failAt < OUT_OF_STEPS, 'start comes to an end');
  }),

  inNamespace('an aborted signal is honoured, and nothing is left', async (environment, before) => {
    const gone = AbortSignal.abort(ENOUGH);
    await using instance = make(environment);
    await refused('probe', instance.interceptor.probe(gone));
    await refused('provision', instance.provision(gone));
    await instance.provision(live());
    await refused('start', instance.interceptor.start(instance.input([WEB]), gone));
    await instance.interceptor.stop();
    assert.equal(state(), before, 'an aborted start left something after stop');
  }),

  inNamespace('updates there and back, many times, leave no drift', async (environment) => {
    const [instance] = await started(environment);
    await using _ = instance;
    for (const services of [[WEB, DATABASE], [DATABASE], [], [WEB], [WEB], [DATABASE, WEB], [WEB]]) {
      await instance.interceptor.update(instance.input(services), live());
      await undrifted(instance, `an update to ${JSON.stringify(services)}`);
    }
  }),

  inNamespace('an aborted update changes nothing', async (environment) => {
    const [instance] = await started(environment);
    await using _ = instance;
    const before = state();
    const gone = AbortSignal.abort(ENOUGH);
    await refused('update', instance.interceptor.update(instance.input([DATABASE]), gone));
    assert.equal(state(), before, 'update changed the host after its signal was aborted');
    await undrifted(instance, 'an aborted update');
  }),

  inNamespace('after a drain verify finds nothing, and stop puts the rest back', async (environment) => {
    const [instance] = await started(environment);
    await using _ = instance;
    await instance.interceptor.drain(live());
    await undrifted(instance, 'a drain');
  }),

  inNamespace('repair of nothing changes nothing', async (environment) => {
    const [instance] = await started(environment);
    await using _ = instance;
    const before = state();
    await instance.interceptor.repair([], live());
    assert.equal(state(), before, 'repair changed the host without a drift');
  }),

  inNamespace('an unknown option is refused by name', async ({ definition }) => {
    const result = await definition.options['~standard'].validate({ nonsense: 1 });
    const issues = JSON.stringify(result.issues ?? []);
    assert.match(issues, /nonsense/, `the schema says of the option "nonsense": ${issues}`);
  }),
];
