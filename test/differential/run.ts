/** Random sets and flows through `decide` and through a mechanism's kernel; they must agree on every flow. */
import { type CaptureSet, compileCaptureSet, decide, type FlowKey, numberToAddress } from '@weir/core';
import { type Fate, KernelUnderTest, type Mechanism, type Scope } from './kernel.ts';
import { Random } from './random.ts';
import { isOwn, randomFlows, randomInput, withoutOwnAddresses, withRefusals } from './world.ts';

export interface Differential {
  readonly seed: number;
  readonly sets: number;
  readonly flowsPerSet: number;
  readonly scope: Scope;
}

export interface Tally {
  readonly sets: number;
  readonly flows: number;
  readonly fates: Readonly<Record<Fate, number>>;
  /** One line for each disagreement; at most ten. */
  readonly disagreements: readonly string[];
}

/** Sets in one namespace; then a fresh one, so that conntrack's entries go. */
const SETS_PER_NAMESPACE = 100;

function text(flow: FlowKey): string {
  const [source, destination] = [flow.source, flow.destination].map((value) => numberToAddress(flow.family, value));
  return `${flow.protocol} ${source} to ${destination} port ${flow.port}`;
}

/** What must become of a flow that `decide` answered so. */
function expected(decision: ReturnType<typeof decide>, flow: FlowKey): Fate {
  if (decision === 'spare' || decision === 'none') {
    return isOwn(flow.family, flow.destination) ? 'neither' : 'wire';
  }
  return 'captured';
}

export async function runDifferential(
  mechanism: Mechanism,
  { seed, sets, flowsPerSet, scope }: Differential,
): Promise<Tally> {
  const random = new Random(seed);
  const fates: Record<Fate, number> = { captured: 0, wire: 0, neither: 0, unsendable: 0 };
  const disagreements: string[] = [];
  let flows = 0;
  let previous: CaptureSet | undefined;
  for (let done = 0; done < sets && disagreements.length < 10; done += SETS_PER_NAMESPACE) {
    // eslint-disable-next-line no-await-in-loop -- one namespace after the other
    await using kernel = new KernelUnderTest(mechanism, {
      onCrash: random.chance(2) ? 'open' : 'closed',
      scope,
    });
    for (let index = done; index < Math.min(sets, done + SETS_PER_NAMESPACE) && disagreements.length < 10; index++) {
      const any = { ...randomInput(random, index + 1, kernel.facts), scopes: kernel.scopes };
      const input = mechanism.refusesOwnAddresses?.(scope) ? withoutOwnAddresses(any) : any;
      const compiled = compileCaptureSet(previous === undefined ? input : { ...input, previous });
      const set = random.chance(3) ? withRefusals(compiled) : compiled;
      previous = set;
      // eslint-disable-next-line no-await-in-loop -- each set takes the place of the one before
      await kernel.steer(set);
      const some = { count: flowsPerSet, protocols: kernel.protocols, loopback: scope === 'output' };
      const batch = randomFlows(random, input, some).map((flow) => kernel.sendable(flow));
      const found = kernel.send(batch);
      for (const [place, flow] of batch.entries()) {
        const decision = decide(set, flow);
        const fate = found[place] as Fate;
        fates[fate]++;
        flows++;
        if (fate === expected(decision, flow)) continue;
        const said = typeof decision === 'number' ? `service ${decision}` : decision;
        disagreements.push(`set ${index}: ${text(flow)}: decide says ${said}, the kernel ${fate}`);
      }
      if (index % 20 === 0) {
        // eslint-disable-next-line no-await-in-loop -- belongs to this set
        for (const drift of await kernel.drift()) disagreements.push(`set ${index}: drift ${JSON.stringify(drift)}`);
      }
    }
  }
  return { sets, flows, fates, disagreements: disagreements.slice(0, 10) };
}
