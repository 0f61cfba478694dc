/** One sk_lookup interceptor of these tests, with what core would lend it, and listeners at its points. */
import type { PlanInput } from '@weir/core';
import { shell, type TproxyEnvironment, TproxyInstance } from '@weir/core/testing';
import { ebpfSklookup } from '../src/index.ts';

export const signal = new AbortController().signal;

/** Everything ip knows of the namespace. */
export function state(): string {
  return shell('ip rule; ip -6 rule; ip route show table all; ip -6 route show table all');
}

export class Instance extends TproxyInstance {
  /** @param input replaces parts of every input. */
  constructor(input: Partial<PlanInput> = {}, failAt = 0) {
    super(ebpfSklookup, { input, failAt });
  }
}

export const environment: TproxyEnvironment = { make: (input, failAt) => new Instance(input, failAt), state };
