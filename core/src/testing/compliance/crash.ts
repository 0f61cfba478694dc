/** Killed or failing at any step: the host is as it was, by the keeper, by `weir cleanup`, or by the next `weir run`. */
import { strict as assert } from 'node:assert';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { WeirProcess } from '../weir-process.ts';
import { onStage, type ComplianceCase } from './case.ts';
import type { Stage } from './stage.ts';
import { webServices } from './steering.ts';

/** More steps than any interceptor takes; a run that is never done is a failure of its own. */
const MOST_STEPS = 400;

/** Everything that Weir changes outside the interceptor is in play too. */
const CONFIG = {
  services: [...webServices(), { name: 'named', addresses: ['named.internal'], ports: [81] }],
  resolver: {
    listen: ['udp://127.0.0.1:53', 'tcp://127.0.0.1:53'],
    reach: 'resolv-conf',
    upstreams: ['udp://10.1.0.1:53'],
    test: 'off',
  },
};
const RESOLV_CONF = '# by hand\nsearch example.net\nnameserver 10.1.0.1\n';

async function settles(stage: Stage, before: string, what: string): Promise<void> {
  const until = Date.now() + 10_000;
  // Who cleans up ends when it is done; to look at the host meanwhile takes longer than that.
  while (stage.host.processes().length > 0) {
    assert.ok(Date.now() < until, `${what}: processes are left: ${stage.host.processes().map(commandLine).join('; ')}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  let now = await stage.host.state();
  while (now !== before && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    now = await stage.host.state();
  }
  assert.equal(now, before, what);
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

/** Ends whatever of Weir outlived it, so that nothing has cleaned up. */
async function killSurvivors(stage: Stage): Promise<void> {
  for (;;) {
    const survivors = stage.host.processes();
    if (survivors.length === 0) return;
    for (const pid of survivors) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ended by itself meanwhile
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The steps at which a fault is injected: `first`, `first + stride`, … */
interface Steps {
  readonly first: number;
  readonly stride: number;
  /** How often at each step. Default once. */
  readonly rounds?: number;
}

/** Who cleans up after a Weir that was killed together with its keeper. */
const WAYS = ['weir cleanup', 'weir cleanup without the journal', 'a new weir run'] as const;

/**
 * Starts and stops Weir with an injected fault at one step after the other, until a run is not reached by it.
 * `afterwards` runs after each that was.
 */
async function atEachStep(
  stage: Stage,
  { first, stride, rounds = 1 }: Steps,
  variable: 'WEIR_KILL_AT' | 'WEIR_FAIL_AT',
  afterwards: (weir: WeirProcess, step: number) => Promise<void>,
): Promise<number> {
  let reached = 0;
  for (let turn = 0, step = first; step < MOST_STEPS; turn++, step = first + stride * Math.floor(turn / rounds)) {
    const weir = WeirProcess.launch(stage.host, stage.weirOptions(CONFIG, { env: { [variable]: String(step) } }));
    const up = await weir.running();
    if (up) weir.process.kill('SIGTERM');
    const exit = await weir.process.waitForExit(30_000);
    if (exit.code === 0) return reached;
    reached++;
    await afterwards(weir, step);
  }
  throw new Error(`a start and a stop take more than ${MOST_STEPS} steps`);
}

async function prepare(stage: Stage): Promise<string> {
  await stage.host.writeResolvConf(RESOLV_CONF);
  return stage.host.state();
}

async function killedWithKeeper(stage: Stage, steps: Steps): Promise<void> {
  const before = await prepare(stage);
  const reached = await atEachStep(stage, steps, 'WEIR_KILL_AT', async (weir, step) => {
    assert.equal(weir.process.exit?.signal, 'SIGKILL', `step ${step}: ${weir.process.describe()}`);
    await settles(stage, before, `killed at step ${step}, cleaned up by the keeper`);
  });
  assert.ok(reached > 0, 'WEIR_KILL_AT has an effect');
}

async function killedWithoutKeeper(stage: Stage, steps: Steps): Promise<void> {
  const before = await prepare(stage);
  let round = 0;
  // In turns, so that a few steps meet every way; at every step each of them.
  const ways = steps.stride === 1 ? WAYS.length : 1;
  await atEachStep(stage, { ...steps, rounds: ways }, 'WEIR_KILL_AT', async (weir, step) => {
    await killSurvivors(stage);
    const how = WAYS[round++ % WAYS.length];
    if (how === 'weir cleanup without the journal') rmSync(`${weir.stateDirectory}/journal`, { force: true });
    if (how === 'a new weir run') {
      const next = await WeirProcess.start(stage.host, stage.weirOptions(CONFIG));
      assert.equal((await next.stop()).code, 0, next.process.describe());
    } else {
      const cleanup = await weir.command('cleanup');
      assert.equal(cleanup.code, 0, `killed at step ${step}, ${how}: ${cleanup.stderr}`);
    }
    await settles(stage, before, `killed at step ${step}, cleaned up by ${how}`);
  });
  assert.ok(round > 0, 'WEIR_KILL_AT has an effect');
}

async function failing(stage: Stage, steps: Steps): Promise<void> {
  const before = await prepare(stage);
  const reached = await atEachStep(stage, steps, 'WEIR_FAIL_AT', async (weir, step) => {
    const { exit, stderr } = weir.process;
    assert.ok(
      exit?.code !== undefined && exit.code > 0,
      `a failure at step ${step} is told: ${weir.process.describe()}`,
    );
    assert.doesNotMatch(stderr, /^\s+at .*:\d+:\d+\)?$/m, 'no stack trace reaches an operator');
    await settles(stage, before, `failed at step ${step}`);
  });
  assert.ok(reached > 0, 'WEIR_FAIL_AT has an effect');
}

async function interrupted(stage: Stage): Promise<void> {
  const before = await prepare(stage);
  // At one moment after the other, until one is after the start.
  let up = false;
  for (let delay = 60; !up && delay < 1200; delay += 80) {
    const weir = WeirProcess.launch(stage.host, stage.weirOptions(CONFIG));
    await new Promise((resolve) => setTimeout(resolve, delay));
    up = existsSync(`${weir.stateDirectory}/admin.sock`);
    const exit = await weir.stop('SIGINT', 30_000);
    // Before Node has installed a handler the signal ends the process; later it is an orderly stop.
    assert.ok(exit.code === 0 || exit.signal === 'SIGINT', `after ${delay} ms: ${weir.process.describe()}`);
    await settles(stage, before, `interrupted ${delay} ms after the start`);
  }
}

/** Of a mechanism that changes nothing: there is no step at which it could leave something, and no moment. */
async function nothingToUndo(stage: Stage): Promise<void> {
  const before = await prepare(stage);
  for (const variable of ['WEIR_KILL_AT', 'WEIR_FAIL_AT'] as const) {
    const reached = await atEachStep(stage, { first: 1, stride: 1 }, variable, async () => {});
    assert.equal(reached, 0, `${variable}=1: it changes the host`);
  }
  for (let delay = 200; delay <= 1200; delay += 200) {
    const weir = WeirProcess.launch(stage.host, stage.weirOptions(CONFIG));
    await new Promise((resolve) => setTimeout(resolve, delay));
    weir.process.kill('SIGKILL');
    await weir.process.waitForExit();
    await settles(stage, before, `killed ${delay} ms after the start`);
  }
}

async function flushed(stage: Stage): Promise<void> {
  const before = await prepare(stage);
  const weir = await stage.weir(CONFIG);
  weir.process.kill('SIGKILL');
  await weir.process.waitForExit();
  await settles(stage, before, 'killed while running');
  const next = await stage.weir(CONFIG);
  const refused = await next.command('cleanup');
  assert.equal(refused.code, 6, 'cleanup refuses while the owner lives');
  assert.match(refused.stderr, /already/);
  assert.equal((await next.stop()).code, 0);
  await settles(stage, before, 'stopped');
}

const ENDED_EARLY: readonly ComplianceCase[] = [
  onStage('interrupted while it starts, it takes everything back itself', interrupted, { timeoutMs: 120_000 }),
  onStage('killed while it runs, it is cleaned up after; cleanup refuses while it lives', flushed),
];

/** Where nothing is captured, nothing of the host is changed. */
export const EXPLICIT_CRASH_CASES: readonly ComplianceCase[] = [
  onStage('killed at any moment, the host is as it was: there is nothing to undo', nothingToUndo, {
    timeoutMs: 120_000,
  }),
  ...ENDED_EARLY,
];

/**
 * @param stride faults are injected at every so manieth step, and at others in each of the three cases, so that together
 * they meet more of them. 1: at every step, and after each by every way to clean up, which takes minutes.
 */
export function crashCases(stride: number): readonly ComplianceCase[] {
  const from = (first: number): Steps => ({ first: 1 + (first % stride), stride });
  return [
    onStage('killed at each step, the keeper puts the host back', (stage) => killedWithKeeper(stage, from(0)), {
      timeoutMs: 600_000,
    }),
    onStage(
      'killed at each step with its keeper, cleanup or the next run puts the host back',
      (stage) => killedWithoutKeeper(stage, from(Math.floor(stride / 3))),
      { timeoutMs: 1_800_000 },
    ),
    onStage(
      'failing at each step, it takes everything back itself',
      (stage) => failing(stage, from(Math.floor((2 * stride) / 3))),
      { timeoutMs: 600_000 },
    ),
    ...ENDED_EARLY,
  ];
}

export const CRASH_CASES: readonly ComplianceCase[] = crashCases(1);
