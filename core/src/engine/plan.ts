/** `weir plan`: the exact kernel changes that a configuration would make here, without making any. */
import type { Plan } from '../api/interceptor.ts';
import type { BoundPoint, PointSpec } from '../api/point.ts';
import type { Configuration } from '../config/model.ts';
import { hostFacts } from '../host/facts.ts';
import { numbersOf, orphanSlots, recordedNumbers } from '../host/numbers.ts';
import { loadPlugins } from '../registry/load.ts';
import { canariesFor, makeCapturePlan, ServiceNumbers } from './capture-plan.ts';
import { suitable } from './selection.ts';
import { serviceListeners } from './service-listeners.ts';

/** Stands for the ports that the kernel chooses when the capture points are opened. */
const EXAMPLE_PORT = 15_001;

export interface HostPlan extends Plan {
  /** What the text cannot say, one sentence each. */
  readonly notes: readonly string[];
}

/** @throws SelectionError when no candidate fits the configuration. */
export async function planFor(configuration: Configuration): Promise<HostPlan> {
  const registry = await loadPlugins(configuration.plugins);
  const definition = suitable(configuration, registry.interceptors());
  const facts = hostFacts();
  const { owner } = configuration;
  const slot = recordedNumbers(owner)?.slot ?? orphanSlots(owner)[0] ?? 0;
  const numbers = numbersOf(slot, configuration.capture);
  const { transparent } = definition.capabilities;
  const serviceNumbers = new ServiceNumbers();
  const capture = makeCapturePlan({
    configuration,
    facts,
    generation: 1,
    numbers: serviceNumbers,
    canaries: transparent ? canariesFor(configuration, facts, slot) : [],
  });
  const listeners = serviceListeners(configuration, serviceNumbers);
  const options = (configuration.interceptors[definition.id] ?? {}) as never;
  const points = definition
    .points(facts, listeners, { numbers, options })
    .map((point, index) => examplePoint(point, index));
  const plan = definition.plan(
    {
      owner,
      set: capture.set,
      points,
      numbers,
      facts,
      onCrash: configuration.capture.onCrash,
      serviceNames: capture.serviceNames,
    },
    options,
  );
  const notes = [
    ...(points.some(({ bind }) => bind.port === 0)
      ? [`Ports from ${EXAMPLE_PORT} on stand for the ones that the kernel chooses at start.`]
      : []),
    ...(transparent ? [] : ['Nothing of the host is changed: applications must connect to the listeners.']),
    ...(capture.set.canaries.length > 0
      ? [
          `${capture.set.canaries.map((canary) => canary.address).join(' and ')} are captured until a test connection has arrived.`,
        ]
      : []),
    ...(configuration.interceptor === 'auto' ? [`auto would try ${definition.id} first.`] : []),
  ];
  return { ...plan, notes };
}

function examplePoint(point: PointSpec, index: number): BoundPoint {
  return { ...point, port: point.bind.port === 0 ? EXAMPLE_PORT + index : point.bind.port, fds: [] };
}
