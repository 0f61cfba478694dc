/** The name service of a run, joined to what steers and carries the flows to its names. */
import type { Dialer } from '../api/dialer.ts';
import type { Family } from '../api/flow.ts';
import type { Capabilities } from '../api/interceptor.ts';
import type { HostChanges } from '../api/host.ts';
import type { Logger } from '../api/logger.ts';
import type { ResolverDefinition } from '../api/resolver.ts';
import type { ResolverConfiguration } from '../config/model.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import { nameMapPath } from '../host/state-directory.ts';
import type { PluggedResolver } from '../resolvers/chain.ts';
import { NameService } from '../resolvers/name-service.ts';
import type { QueryCapture } from '../resolvers/system-claim.ts';
import { keepsAddresses, servicesOfNames, type CapturePlan } from './capture-plan.ts';
import { captureMeans } from './captured-servers.ts';
import type { NameBinding } from './name-binding.ts';
import { steerRealNames } from './real-steering.ts';
import { exactNames } from './reload-scope.ts';
import type { Steering } from './steering.ts';

export interface RunNamesParts {
  /** The plan that holds when the service is made. */
  readonly plan: CapturePlan;
  /** Families that are captured: names get addresses of these. */
  readonly families: readonly Family[];
  /** The interceptor that was selected. */
  readonly interceptor: { readonly id: string; readonly capabilities: Capabilities };
  /** fwmark of every socket; 0 for none. */
  readonly mark: number;
  /** The owner's state directory. */
  readonly directory: string;
  readonly log: Logger;
  readonly host: HostChanges;
  readonly binding: NameBinding;
  readonly steering: Steering;
  /** See Run. */
  readonly exclusively: <T>(change: () => Promise<T>) => Promise<T>;
  readonly dataPlane: DataPlane;
  readonly dialer: (name: string) => Dialer | undefined;
  readonly resolvers: ReadonlyArray<ResolverDefinition<never>>;
}

export function makeNameService(parts: RunNamesParts): NameService {
  const { plan, binding, steering, dataPlane, log } = parts;
  const { configuration } = plan;
  return new NameService({
    resolver: configuration.resolver,
    limits: configuration.limits,
    matcher: plan.names,
    configuredNames: exactNames(configuration),
    mark: parts.mark,
    families: parts.families,
    owner: configuration.owner,
    stateDirectory: parts.directory,
    log,
    host: parts.host,
    // The workers must know the names' rows before they are told of the name.
    async onAssign(assignment) {
      if (!steering.knowsPattern(assignment.patternIndex)) await steering.refreshNames();
      await binding.enter(assignment);
    },
    onRelease: (name) => binding.release(name),
    namesInUse() {
      const numbers = dataPlane.namesInUse();
      binding.recycle(numbers);
      return [...numbers].flatMap((number) => binding.textOf(number) ?? []);
    },
    real: {
      keeps: (index) => keepsAddresses(steering.given ?? plan, index),
      steer: (names) => steerRealNames({ steering, binding, exclusively: parts.exclusively }, names),
      destinations(name) {
        const number = binding.indexOf(name);
        return number === undefined ? new Set() : dataPlane.destinations(number);
      },
      addresses: configuration.limits.realAddresses,
    },
    resolvesUpstream: (index) =>
      servicesOfNames(steering.plan ?? plan, index).some(({ resolve }) => resolve === 'upstream'),
    patterns: () => (steering.plan ?? plan).configuration.services.flatMap((service) => service.names),
    capture: queryCapture(parts),
    nameMapPath: nameMapPath(configuration.owner),
    dialer: parts.dialer,
    resolvers: pluggedResolvers(parts, configuration.resolver),
  });
}

function queryCapture({ plan: { configuration }, families, interceptor, steering }: RunNamesParts): QueryCapture {
  const { only, except } = configuration.capture;
  return {
    ...captureMeans({ configuration, interceptor, families, facts: () => steering.facts }),
    everyone: only.length + except.length === 0,
    // Also while the run stops, when its own signal is aborted.
    steer: (addresses, listeners) => steering.captureServers({ addresses, listeners }, new AbortController().signal),
  };
}

function pluggedResolvers(
  { resolvers, mark, log }: RunNamesParts,
  { plugins }: ResolverConfiguration,
): readonly PluggedResolver[] {
  return resolvers.map((definition) => {
    const { id, priority } = definition;
    const context = { log: log.child({ resolver: id }), bypassMark: mark };
    const resolver = definition.create(plugins[id] as never, context);
    return { id, priority, resolver };
  });
}
