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
      await body(environment, before);
      assert.equal(state(), before, 'the host is as it was');
      assert.deepEqual(openedSince(open, descriptorsOf()), [], 'no descriptor is left');
    },
  };
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
    assert.equal(state(), before);
    assert.equal(instance.host.count, 0);
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
      assert.notEqual(specs.length, 0);
    },
  ),

  inNamespace('after start verify finds nothing, and after stop the host is as it was', async (environment, before) => {
    const [instance] = await started(environment);
    await using _ = instance;
    assert.notEqual(state(), before, 'start changes something');
    assert.deepEqual(await instance.interceptor.verify(live()), []);
    await instance.interceptor.stop();
    assert.equal(state(), before);
    assert.deepEqual(instance.host.made, [], 'every change has been undone through core');
  }),

  inNamespace('a plan is the same for the same input, and another for another', async (environment) => {
    const [instance, input] = await started(environment);
    await using _ = instance;
    assert.equal(instance.plan(input), instance.plan({ ...input }));
    assert.notEqual(instance.plan(input), instance.plan(instance.input([WEB, DATABASE])));
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
    const gone = AbortSignal.abort(new Error('enough'));
    await using instance = make(environment);
    await assert.rejects(instance.interceptor.probe(gone), /enough/);
    await assert.rejects(instance.provision(gone), /enough/);
    await instance.provision(live());
    await assert.rejects(instance.interceptor.start(instance.input([WEB]), gone), /enough/);
    await instance.interceptor.stop();
    assert.equal(state(), before);
  }),

  inNamespace('updates there and back, many times, leave no drift', async (environment) => {
    const [instance] = await started(environment);
    await using _ = instance;
    for (const services of [[WEB, DATABASE], [DATABASE], [], [WEB], [WEB], [DATABASE, WEB], [WEB]]) {
      await instance.interceptor.update(instance.input(services), live());
      assert.deepEqual(await instance.interceptor.verify(live()), [], JSON.stringify(services));
    }
  }),

  inNamespace('an aborted update changes nothing', async (environment) => {
    const [instance] = await started(environment);
    await using _ = instance;
    const before = state();
    const gone = AbortSignal.abort(new Error('enough'));
    await assert.rejects(instance.interceptor.update(instance.input([DATABASE]), gone), /enough/);
    assert.equal(state(), before);
    assert.deepEqual(await instance.interceptor.verify(live()), []);
  }),

  inNamespace('after a drain verify finds nothing, and stop puts the rest back', async (environment) => {
    const [instance] = await started(environment);
    await using _ = instance;
    await instance.interceptor.drain(live());
    assert.deepEqual(await instance.interceptor.verify(live()), []);
  }),

  inNamespace('repair of nothing changes nothing', async (environment) => {
    const [instance] = await started(environment);
    await using _ = instance;
    const before = state();
    await instance.interceptor.repair([], live());
    assert.equal(state(), before);
  }),

  inNamespace('an unknown option is refused by name', async ({ definition }) => {
    const result = await definition.options['~standard'].validate({ nonsense: 1 });
    assert.match(JSON.stringify(result.issues ?? []), /nonsense/);
  }),
];
