/**
 * An interceptor that steers to transparent sockets, in the thread's own namespace, with listeners that accept what it
 * steers: for tests of what a single connection meets.
 */
import type { Interceptor, InterceptorDefinition, PlanInput } from '../api/interceptor.ts';
import { hostFacts } from '../host/facts.ts';
import { libc, openSocket, socketName } from '../sys/index.ts';
import { MemoryChanges, SILENT } from './memory-changes.ts';
import { TEST_NUMBERS, tcpPoint, type TestCapture, testPlanInput, type TestService } from './plan-input.ts';

export interface TproxyInstanceOptions {
  /** Replaces parts of every input. */
  readonly input?: Partial<PlanInput>;
  /** Counted from 1: this change of the host fails before it is made. */
  readonly failAt?: number;
  /** The interceptor's own options, validated already. */
  readonly options?: unknown;
}

export class TproxyInstance implements AsyncDisposable {
  readonly host: MemoryChanges;
  readonly interceptor: Interceptor;
  /** Listening descriptors by family. */
  readonly listeners: { readonly 4: number; readonly 6?: number };
  readonly #ports: ReadonlyMap<4 | 6, number>;
  readonly #input: Partial<PlanInput>;
  readonly #signal = new AbortController().signal;

  constructor(
    definition: InterceptorDefinition<never>,
    { input = {}, failAt = 0, options = {} }: TproxyInstanceOptions = {},
  ) {
    this.#input = input;
    this.host = new MemoryChanges(failAt);
    const { owner = 'default', numbers = TEST_NUMBERS } = input;
    const pump = () => Promise.reject(new Error('this test lends no pumps'));
    const context = { owner, numbers, host: this.host, log: SILENT, pump };
    this.interceptor = definition.create(context, options as never);
    const listen = (family: 4 | 6): number => {
      const { bind } = tcpPoint(family, 0);
      const fd = openSocket({ family, protocol: 'tcp', mark: numbers.bypassMark, transparent: true, bind });
      libc.listen(fd, 128);
      return fd;
    };
    this.listeners = hostFacts().ipv6 ? { 4: listen(4), 6: listen(6) } : { 4: listen(4) };
    this.#ports = new Map(
      ([4, 6] as const).flatMap((family) => {
        const fd = this.listeners[family];
        return fd === undefined ? [] : [[family, socketName(fd).port] as const];
      }),
    );
  }

  /** An input for these services on this host as it is now. */
  input(services: readonly TestService[], more: Partial<PlanInput> = {}, capture: TestCapture = {}): PlanInput {
    const points = [...this.#ports].map(([family, port]) => tcpPoint(family, port, this.listeners[family]));
    return testPlanInput(services, { facts: hostFacts(), points, ...this.#input, ...more }, capture);
  }

  async start(input: PlanInput): Promise<void> {
    await this.interceptor.provision(this.#signal);
    await this.interceptor.start(input, this.#signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.interceptor.stop();
    for (const fd of Object.values(this.listeners)) libc.close(fd);
  }
}
