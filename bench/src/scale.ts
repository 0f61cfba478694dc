/**
 * `--scale`: what Weir costs against how much there is of something: idle flows, services, workers, bytes of a datagram and
 * of a response. One mechanism, nft; medians of the rounds. From these numbers is the model in docs/performance.md.
 */
import { WeirProcess, type ConfigurationDocument } from '@weir/core/testing';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { resultFile, type BenchArguments } from './arguments.ts';
import type { Candidate, RunningCandidate, Task } from './candidate.ts';
import { programOf, stopWeir, weirCandidate, weirConfiguration, type WeirVariant } from './candidates/weir.ts';
import { descriptorLimit, mostFlows } from './descriptor-limit.ts';
import { runScript, scriptCommand } from './script.ts';
import type { Load, Stage } from './load.ts';
import { bulk } from './loads/bulk.ts';
import { connections } from './loads/connections.ts';
import { requests } from './loads/requests.ts';
import { machineFacts } from './machine.ts';
import { manyPrefixes, OTHER_PREFIX } from './many-prefixes.ts';
import { memoryOf } from './memory.ts';
import { withPrivateHosts } from './private-hosts.ts';
import { scaleTable } from './report/scale-docs.ts';
import type { Point, ScaleResult, Series } from './scale-result.ts';
import { setScene, type Scene } from './scene.ts';
import { median } from './statistics.ts';

const FLOWS = [1, 100, 1000, 10_000, 50_000];
const SERVICES = [1, 100, 1000, 10_000, 100_000];
const WORKERS = [1, 2, 4];
const DATAGRAM_BYTES = [64, 256, 512, 1024, 1400];
const RESPONSE_BYTES = [64, 1024, 16_384, 65_536, 1_048_576];
/** Datagrams per second that are offered: more than come back. */
const OFFERED = 100_000;
const KIB = 1024;
const MIB = KIB * KIB;
const ROUNDS = 3;
const INTERCEPTOR = 'nft';
const WEIR: WeirVariant = { interceptor: INTERCEPTOR, variants: [] };
/** Until memory that setting flows up needed is given back. Milliseconds. */
const SETTLE = 500;

/** Flows from which on memory per flow means something. */
const ENOUGH = 1000;
/** How long a start with many services is waited for. Milliseconds. */
const START_MS = 240_000;
/** Until the look at the host that follows a reload is over, which is no cost of a connection. Milliseconds. */
const AFTER_RELOAD = 3000;

const settle = (ms = SETTLE) => new Promise((resolve) => setTimeout(resolve, ms));
const column = (id: string, label: string, digits: number) => ({ id, label, digits });
type Values = Record<string, number>;

/** Bytes of the kernel's slabs, machine-wide: where sockets and tracked connections are. */
function slabBytes(): number {
  return Number(/^Slab:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * KIB;
}

class Scale {
  readonly #scene: Scene;
  readonly #args: BenchArguments;
  readonly #say: (text: string) => void;
  readonly leftOut: string[] = [];
  readonly failures: string[] = [];
  #hosts = 0;

  constructor(scene: Scene, args: BenchArguments, say: (text: string) => void) {
    this.#scene = scene;
    this.#args = args;
    this.#say = say;
  }

  get rounds(): number {
    return Math.min(ROUNDS, this.#args.rounds);
  }

  async flows(): Promise<Series> {
    const counts = [...new Set(FLOWS.map((count) => Math.min(count, mostFlows)))];
    if (counts.length < FLOWS.length) {
      this.leftOut.push(`more than ${mostFlows} flows: a process may have ${descriptorLimit} descriptors here`);
    }
    const task = await this.#host();
    const candidate = weirCandidate(WEIR);
    const running = await candidate.start(task);
    const { address, port } = task.http;
    const client = task.client.spawn([...task.manyFiles, ...scriptCommand('idle-client', [address, String(port)])]);
    await client.waitFor(/ready/);
    await this.#values(candidate, running, task, [connections(32, false)]); // warm-up
    await settle();
    const [base, slab] = [memoryOf(running.pids), slabBytes()];
    const points = await this.#points(counts, 'flows', async (count) => {
      client.stdin.write(`${count}\n`);
      await client.waitFor(new RegExp(`holding ${count}\n`), 120_000);
      await settle();
      const [user, kernel] = [memoryOf(running.pids) - base, slabBytes() - slab];
      const values = await this.#values(candidate, running, task, [connections(32, false), requests(64, '64 B')]);
      // A few flows drown in what the heap does by itself.
      const each = count < ENOUGH ? {} : { each: user / count / KIB, kernel: kernel / count / KIB };
      return { user: user / MIB, ...each, ...values };
    });
    client.kill('SIGKILL');
    await client.exited;
    await running.stop();
    return {
      id: 'flows',
      title: 'Idle flows',
      axis: 'idle flows',
      columns: [
        column('user', 'process memory beyond its base, MiB', 1),
        column('each', 'per flow, KiB', 2),
        column('kernel', 'kernel slabs per flow, four sockets, KiB', 1),
        column('connections-32', 'new connections /s', 0),
        column('connections-32-cpu', 'CPU each, µs', 1),
        column('requests-64', 'requests of 64 B /s', 0),
      ],
      points,
    };
  }

  async services(): Promise<Series> {
    const points = await this.#points(SERVICES, 'services', async (count) => {
      const task = await this.#host();
      const others = manyPrefixes(count - 1).map((prefix, n) => ({ name: `s${n}`, addresses: [prefix], ports: [80] }));
      const document = (extra: readonly unknown[]): ConfigurationDocument => {
        const base = weirConfiguration(WEIR, task);
        return { ...base, services: [...(base['services'] as readonly unknown[]), ...extra] };
      };
      const begun = performance.now();
      const weir = WeirProcess.launch(task.client, {
        config: document(others),
        command: [...task.manyFiles, ...programOf()],
      });
      if (!(await weir.running(START_MS))) {
        await weir[Symbol.asyncDispose]();
        throw new Error(`weir did not start within ${START_MS / 1000} s: ${weir.process.stderr.slice(-500)}`);
      }
      const start = performance.now() - begun;
      const running = { pids: [weir.process.pid], carried: async () => undefined, stop: () => stopWeir(weir) };
      try {
        const reloading = performance.now();
        await weir.reload(document([...others.slice(1), { name: 'other', addresses: [OTHER_PREFIX], ports: [80] }]));
        const reload = performance.now() - reloading;
        await settle(AFTER_RELOAD);
        const memory = memoryOf(running.pids) / MIB;
        return {
          start,
          reload,
          memory,
          ...(await this.#values(weirCandidate(WEIR), running, task, [connections(32, false)])),
        };
      } finally {
        await running.stop();
      }
    });
    return {
      id: 'services',
      title: 'Services',
      axis: 'services',
      columns: [
        column('start', 'start, ms', 0),
        column('reload', 'one changed by a reload, ms', 0),
        column('memory', 'process memory, MiB', 0),
        column('connections-32', 'new connections /s', 0),
        column('connections-32-cpu', 'CPU each, µs', 1),
      ],
      points,
    };
  }

  async workers(): Promise<Series> {
    const loads = [bulk(8, true), connections(32, false), requests(64, '64 B')];
    const points = await this.#points(WORKERS, 'workers', async (count) => {
      const task = await this.#host();
      const variants = count === 1 ? [] : [`workers${count}`];
      const candidate = weirCandidate({ interceptor: INTERCEPTOR, variants });
      const running = await candidate.start(task);
      try {
        return await this.#values(candidate, running, task, loads);
      } finally {
        await running.stop();
      }
    });
    return {
      id: 'workers',
      title: 'Workers',
      axis: 'workers',
      columns: [
        column('bulk-down-8', 'bulk down, 8 streams, Gbit/s', 2),
        column('bulk-down-8-cpu', 'CPU, s/GiB', 3),
        column('connections-32', 'new connections /s', 0),
        column('connections-32-cpu', 'CPU each, µs', 1),
        column('requests-64', 'requests of 64 B /s', 0),
        column('requests-64-cpu', 'CPU each, µs', 1),
      ],
      points,
    };
  }

  async sizes(): Promise<readonly Series[]> {
    const task = await this.#host();
    const candidate = weirCandidate(WEIR);
    const running = await candidate.start(task);
    const { address, port } = task.echo;
    const { seconds } = this.#args;
    const datagrams = await this.#points(DATAGRAM_BYTES, 'bytes of a datagram', async (bytes) => {
      const rates: number[] = [];
      for (let round = 0; round < this.rounds; round++) {
        const args = [address, port, OFFERED, bytes, 16, seconds * 1000];
        const report = await runScript<{ received: number; seconds: number }>(task, 'echo-client', args, seconds);
        rates.push(report.received / report.seconds);
      }
      const rate = median(rates);
      return { rate, megabits: (rate * bytes * 8) / 1e6 };
    });
    const responses = await this.#points(RESPONSE_BYTES, 'bytes of a response', async (bytes) => {
      const values = await this.#values(candidate, running, task, [requests(bytes, `${bytes} B`)]);
      const rate = values[`requests-${bytes}`] ?? Number.NaN;
      return { rate, cpu: values[`requests-${bytes}-cpu`] ?? Number.NaN, gigabits: (rate * bytes * 8) / 1e9 };
    });
    await running.stop();
    return [
      {
        id: 'datagrams',
        title: `Datagrams, ${OFFERED.toLocaleString('en')} per second offered`,
        axis: 'bytes',
        columns: [column('rate', 'came back /s', 0), column('megabits', 'Mbit/s each way', 0)],
        points: datagrams,
      },
      {
        id: 'requests',
        title: 'Responses on 32 living connections',
        axis: 'bytes',
        columns: [
          column('rate', 'requests /s', 0),
          column('cpu', 'CPU each, µs', 1),
          column('gigabits', 'payload, Gbit/s', 2),
        ],
        points: responses,
      },
    ];
  }

  #host(): Promise<Task> {
    return this.#scene.client(`scale-${this.#hosts++}`);
  }

  /** A point that fails is left out of the series, and named. */
  async #points(
    xs: readonly number[],
    what: string,
    measure: (x: number) => Promise<Values>,
  ): Promise<readonly Point[]> {
    const points: Point[] = [];
    for (const x of xs) {
      this.#say(`${x.toLocaleString('en')} ${what}`);
      try {
        points.push({ x, values: await measure(x) });
      } catch (error) {
        this.failures.push(`${x} ${what}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return points;
  }

  /** Medians of what the loads say. */
  async #values(candidate: Candidate, running: RunningCandidate, task: Task, loads: readonly Load[]): Promise<Values> {
    const { seconds } = this.#args;
    const { serverPids } = this.#scene;
    const stage: Stage = { candidate, running, task, spare: task, serverPids, seconds };
    const all = new Map<string, number[]>();
    for (let round = 0; round < this.rounds; round++) {
      for (const load of loads.filter((each) => each.missing() === undefined)) {
        const { values } = await load.run(stage);
        for (const [id, value] of Object.entries(values)) all.set(id, [...(all.get(id) ?? []), value]);
      }
    }
    return Object.fromEntries([...all].map(([id, values]) => [id, median(values)]));
  }
}

/** @returns the exit code: 0, 1 when a point failed, 130 when it was interrupted. */
export function measureScale(args: BenchArguments, say: (text: string) => void): Promise<number> {
  return withPrivateHosts(say, async (net) => {
    const began = Date.now();
    const machine = machineFacts();
    const scale = new Scale(await setScene(net), args, say);
    const series = [await scale.flows(), await scale.services(), await scale.workers(), ...(await scale.sizes())];
    const result: ScaleResult = {
      format: 'scale',
      startedAt: new Date(began).toISOString(),
      seconds: Math.round((Date.now() - began) / 1000),
      arguments: { rounds: scale.rounds, secondsPerMeasurement: args.seconds },
      machine,
      series,
      leftOut: scale.leftOut,
      failures: scale.failures,
    };
    const file = resultFile(args, `scale-${result.startedAt}`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`);
    say(`\n${scaleTable(result)}\n\n${result.seconds} s; the result as JSON: ${file}`);
    return result.failures.length === 0 ? 0 : 1;
  });
}
