/** One interceptor of these tests, with what core would lend it, and listeners at its points. */
import { hostFacts, type Interceptor, type PlanInput } from '@weir/core';
import { libc, openSocket, socketName } from '@weir/core/sys';
import { MemoryChanges, shell, SILENT } from '@weir/core/testing';
import { ebpfSklookup } from '../src/index.ts';
import { NUMBERS, planInput, point, type TestService } from './input.ts';

export const signal = new AbortController().signal;

/** Everything ip knows of the namespace. */
export function state(): string {
  return shell('ip rule; ip -6 rule; ip route show table all; ip -6 route show table all');
}

export class Instance implements AsyncDisposable {
  readonly host: MemoryChanges;
  readonly interceptor: Interceptor;
  readonly listeners: { readonly 4: number; readonly 6?: number };
  readonly #ports: Readonly<Record<string, number>>;
  readonly #more: Partial<PlanInput>;

  /** @param more replaces parts of every input. */
  constructor(more: Partial<PlanInput> = {}, failAt = 0) {
    this.#more = more;
    this.host = new MemoryChanges(failAt);
    const { owner = 'default', numbers = NUMBERS } = more;
    this.interceptor = ebpfSklookup.create(
      {
        owner,
        numbers,
        host: this.host,
        log: SILENT,
        pump: () => Promise.reject(new Error('this test lends no pumps')),
      },
      {},
    );
    const listen = (family: 4 | 6): number => {
      const fd = openSocket({
        family,
        protocol: 'tcp',
        mark: numbers.bypassMark,
        transparent: true,
        bind: { address: family === 4 ? '127.0.0.1' : '::1', port: 0 },
      });
      libc.listen(fd, 128);
      return fd;
    };
    this.listeners = hostFacts().ipv6 ? { 4: listen(4), 6: listen(6) } : { 4: listen(4) };
    this.#ports = Object.fromEntries(Object.entries(this.listeners).map(([f, fd]) => [f, socketName(fd).port]));
  }

  input(
    services: readonly TestService[],
    more: Partial<PlanInput> = {},
    capture: Parameters<typeof planInput>[2] = {},
  ): PlanInput {
    const points = Object.entries(this.listeners).map(([family, fd]) =>
      point(family === '4' ? 4 : 6, this.#ports[family] ?? 0, fd),
    );
    return planInput(services, { facts: hostFacts(), points, ...this.#more, ...more }, capture);
  }

  async start(input: PlanInput): Promise<void> {
    await this.interceptor.provision(signal);
    await this.interceptor.start(input, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.interceptor.stop();
    for (const fd of Object.values(this.listeners)) libc.close(fd);
  }
}
