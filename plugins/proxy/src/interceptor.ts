/** The proxy interceptor: core opens the listeners that it asks for; there is nothing to steer, to mend or to put back. */
import type {
  BoundPoint,
  Drift,
  Interceptor,
  InterceptorContext,
  PlanInput,
  PointSpec,
  ProbeResult,
  ServiceListener,
} from '@weir/core';
import { describePoint } from './plan.ts';
import { pointsOf } from './points.ts';

export class ProxyInterceptor implements Interceptor {
  readonly #context: InterceptorContext;
  /** What listens now, one line each. */
  #listening: ReadonlySet<string> = new Set();

  constructor(context: InterceptorContext) {
    this.#context = context;
  }

  async probe(signal: AbortSignal): Promise<ProbeResult> {
    signal.throwIfAborted();
    return { verdict: 'supported', facts: { listeners: 'ordinary sockets, no privilege' } };
  }

  async provision(signal: AbortSignal, listeners: readonly ServiceListener[] = []): Promise<readonly PointSpec[]> {
    signal.throwIfAborted();
    return pointsOf(listeners);
  }

  async start({ points }: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#report(points);
  }

  async update({ points }: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#report(points);
  }

  async rebind(points: readonly BoundPoint[]): Promise<void> {
    this.#report(points);
  }

  async verify(signal: AbortSignal): Promise<readonly Drift[]> {
    signal.throwIfAborted();
    return [];
  }

  async repair(_drift: readonly Drift[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
  }

  /** Core closes the listeners; there is nothing else that brings flows here. */
  async drain(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
  }

  async stop(): Promise<void> {
    this.#listening = new Set();
  }

  #report(points: readonly BoundPoint[]): void {
    const listening = new Set(points.map(describePoint));
    const { log } = this.#context;
    for (const line of listening) if (!this.#listening.has(line)) log.info({ listener: line }, `listening on ${line}`);
    for (const line of this.#listening) {
      if (!listening.has(line)) log.info({ listener: line }, `no longer listening on ${line}`);
    }
    this.#listening = listening;
  }
}
