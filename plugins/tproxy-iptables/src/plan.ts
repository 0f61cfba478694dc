/** What `start` makes, as text in the notation of iptables-save(8) and ip(8). Pure. */
import { type Family, type Plan, type PlanInput, type PlanStep, routingSteps, tproxyFamilies } from '@weir/core';
import { contentOf } from './chains.ts';
import { installText } from './restore-text.ts';

const TOOL: Readonly<Record<Family, PlanStep['tool']>> = { 4: 'iptables-restore', 6: 'ip6tables-restore' };

/** Routes and rules first, the chains last: nothing is steered before it can arrive. Fed with `--noflush`. */
export function planOf(input: PlanInput): Plan {
  const chains = tproxyFamilies(input).map((family): PlanStep => ({
    tool: TOOL[family],
    text: installText(contentOf(input, family)),
  }));
  return { interceptor: 'tproxy-iptables', steps: [...routingSteps(input), ...chains] };
}
