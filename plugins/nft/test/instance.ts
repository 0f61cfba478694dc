/** One nft interceptor of these tests, with what core would lend it, and listeners at its points. */
import type { PlanInput } from '@weir/core';
import { shell, type TproxyEnvironment, TproxyInstance } from '@weir/core/testing';
import { nft } from '../src/index.ts';

export const signal = new AbortController().signal;

/** Everything nft and ip know of the namespace. */
export function state(): string {
  return shell('nft -j list ruleset; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all');
}

/** @param input replaces parts of every input. @param failAt the change of the host that fails, counted from 1. */
export function instance(input: Partial<PlanInput> = {}, failAt = 0): TproxyInstance {
  return new TproxyInstance(nft, { input, failAt });
}

export const environment: TproxyEnvironment = { make: instance, state };
