/** Services that are reached at a listener of their own: which ones there are, and where their flows go. */
import type { ServiceListener } from '../api/listener.ts';
import { numberToAddress, widthOf } from '../capture/address.ts';
import { isExactName } from '../capture/name-pattern.ts';
import type { Configuration, DialerConfiguration, ServiceConfiguration } from '../config/model.ts';
import type { ServiceNumbers } from './capture-plan.ts';

interface Target {
  readonly host: string;
  readonly port: number;
}

/** Dialers that connect to nothing. */
const WITHOUT_TARGET: ReadonlySet<string> = new Set(['reset', 'drop']);

function isTarget(value: unknown): value is Target {
  const { host, port } = (value ?? {}) as Partial<Record<keyof Target, unknown>>;
  return typeof host === 'string' && typeof port === 'number';
}

/** Where a dialer connects to whatever the flow wanted: `to` of `direct`. */
function ownTarget(dialer: DialerConfiguration | undefined): Target | undefined {
  if (dialer?.type !== 'direct') return undefined;
  const { to } = (dialer.options ?? {}) as { readonly to?: unknown };
  return isTarget(to) ? to : undefined;
}

/** The one host of a service, or undefined. */
function singleHost({ names, prefixes }: ServiceConfiguration): string | undefined {
  const [name] = names;
  const [prefix] = prefixes;
  if (names.length + prefixes.length !== 1) return undefined;
  if (name !== undefined) return isExactName(name) ? name : undefined;
  if (prefix === undefined || prefix.length !== widthOf(prefix.family)) return undefined;
  return numberToAddress(prefix.family, prefix.address);
}

function singlePort({ ports }: ServiceConfiguration): number | undefined {
  const [range] = ports;
  return ports.length === 1 && range !== undefined && range.first === range.last ? range.first : undefined;
}

/** The one target of a service, or in words what it has instead. */
function targetOf(service: ServiceConfiguration, dialers: readonly DialerConfiguration[]): Target | string {
  const connecting = service.dialers.filter((name) => !WITHOUT_TARGET.has(name));
  const targets = connecting.map((name) => ownTarget(dialers.find((dialer) => dialer.name === name)));
  const [first] = targets;
  if (first !== undefined && targets.every((target) => target !== undefined)) return first;
  const host = singleHost(service);
  const port = singlePort(service);
  if (host !== undefined && port !== undefined) return { host, port };
  // Nothing is connected to, so nothing needs to be known.
  if (connecting.length === 0) return { host: '', port: 0 };
  return host === undefined ? 'more than one address' : 'more than one port';
}

/** Why a service cannot have a listener, or undefined. */
export function listenerFault(
  service: ServiceConfiguration,
  dialers: readonly DialerConfiguration[],
): string | undefined {
  const target = targetOf(service, dialers);
  if (typeof target !== 'string') return undefined;
  return (
    `the service ${service.name} has ${target}, so a listener would not know where its connections go; ` +
    'give it one address and one port, or a dialer with `to:`'
  );
}

/** All services with `listen:` that have one target. */
export function serviceListeners(configuration: Configuration, numbers: ServiceNumbers): readonly ServiceListener[] {
  return configuration.services.flatMap((service): readonly ServiceListener[] => {
    const { listen, name, protocols, sources } = service;
    const target = targetOf(service, configuration.dialers);
    if (listen === undefined || typeof target === 'string') return [];
    return [{ service: numbers.of(name), name, listen, protocols, sources, target }];
  });
}
