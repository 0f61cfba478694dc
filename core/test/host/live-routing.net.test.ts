import { describe, expect, test } from 'vitest';
import type { PlanInput } from '../../src/api/interceptor.ts';
import { LiveRouting, placementsOf, updateRouting } from '../../src/host/capture-routes/live-routing.ts';
import { type FamilyRouting, routingOf, type RoutingOptions } from '../../src/host/capture-routes/routing.ts';
import { requires } from '../../src/testing/requirements.ts';
import { testPlanInput, testPoint, type TestService } from '../../src/testing/plan-input.ts';
import { enterFreshNamespace, shell } from '../../src/testing/thread-namespace.ts';

const SOURCES = { 4: '127.0.0.1', 6: '::1' } as const;

/** What a mechanism does with a list of services, in the routing of a fresh namespace. */
class Routed {
  readonly #live: readonly LiveRouting[];

  constructor(services: readonly TestService[], more: Partial<PlanInput['set']>) {
    const input = inputOf(services, more);
    const style = () => ({ type: 'unicast', device: 1, source: SOURCES }) as const;
    this.#live = routing(input).map((each) => new LiveRouting(each, input.numbers, style));
    for (const each of this.#live) {
      each.addTables();
      each.addRules();
    }
  }

  update(services: readonly TestService[], more: Partial<PlanInput['set']>): void {
    updateRouting(this.#live, routing(inputOf(services, more), { placements: placementsOf(this.#live) }));
  }

  get drift(): readonly unknown[] {
    return this.#live.flatMap((each) => each.verify());
  }
}

function inputOf(services: readonly TestService[], more: Partial<PlanInput['set']>): PlanInput {
  const points = ([4, 6] as const).flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) => testPoint(family, 15001, -1, protocol)),
  );
  const input = testPlanInput(services, { points }, { canaries: [], builtins: [] });
  return { ...input, set: { ...input.set, ...more } };
}

function routing(input: PlanInput, options: RoutingOptions = {}): readonly FamilyRouting[] {
  return routingOf(input, { id: 'tun', sources: SOURCES }, options);
}

const WEB = { prefixes: ['10.0.0.0/8', '2001:db8::/32'], ports: [[80, 80] as const, [443, 443] as const] };
const EVERYWHERE = { prefixes: ['0.0.0.0/0', '::/0'], ports: [[80, 80] as const] };
const PASSED_ON = { scopes: { output: true, forward: { interfaces: ['lan0'] } } };
const NETWORK = { prefixes: ['198.18.0.0/15'], protocols: ['udp'] as const };

describe.skipIf(requires('namespaces', 'ipv6'))('rules that the kernel takes for one another', () => {
  test('a service on all destinations beside one on some of them comes and goes by a reload', () => {
    enterFreshNamespace();
    const routed = new Routed([WEB], {});
    for (const services of [[WEB, EVERYWHERE], [WEB], [WEB, EVERYWHERE], [EVERYWHERE], [EVERYWHERE, WEB], [WEB]]) {
      routed.update(services, {});
      expect(routed.drift).toEqual([]);
    }
  });

  test('sources of a service whose traffic is passed on are limited, and are not any more', () => {
    enterFreshNamespace();
    const limited = { ...NETWORK, sources: ['172.16.0.0/24', '172.16.1.0/32'] };
    const routed = new Routed([limited], PASSED_ON);
    for (const service of [NETWORK, limited, NETWORK]) {
      routed.update([service], PASSED_ON);
      expect(routed.drift).toEqual([]);
    }
    expect(shell('ip rule show pref 9512')).toMatch(/from all to 198\.18\.0\.0\/15 .*iif lan0 .*ipproto udp/);
  });
});
