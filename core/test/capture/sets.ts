/** Capture sets from short texts, for examples. */
import type { CaptureSet, Canary } from '../../src/api/capture.ts';
import type { FlowKey, Protocol } from '../../src/api/flow.ts';
import { addressToNumber, familyOf, parsePrefix } from '../../src/capture/address.ts';
import { type CapturedService, compileCaptureSet, type NumberedService } from '../../src/capture/index.ts';

export interface ServiceText {
  readonly names?: readonly string[];
  readonly prefixes?: readonly string[];
  /** A port, or the first and the last; default all. */
  readonly ports?: ReadonlyArray<number | readonly [number, number]>;
  readonly protocols?: readonly Protocol[];
  readonly sources?: readonly string[];
}

export function service(text: ServiceText): CapturedService {
  return {
    names: text.names ?? [],
    prefixes: (text.prefixes ?? []).map((prefix) => parsePrefix(prefix)),
    ports: (text.ports ?? [[0, 65_535] as const]).map((port) =>
      typeof port === 'number' ? { first: port, last: port } : { first: port[0], last: port[1] },
    ),
    protocols: text.protocols ?? ['tcp'],
    sources: (text.sources ?? []).map((prefix) => parsePrefix(prefix)),
  };
}

/** Ids 16, 17, 18 … in order. */
export function numbered(services: readonly CapturedService[]): readonly NumberedService[] {
  return services.map((one, place) => ({ id: 16 + place, service: one }));
}

export interface SetText {
  readonly services: readonly CapturedService[];
  readonly exclude?: readonly string[];
  readonly builtins?: readonly string[];
  readonly ranges?: readonly string[];
  readonly rangeProtocols?: readonly Protocol[];
  readonly canaries?: readonly Canary[];
}

export function compile(text: SetText): CaptureSet {
  const prefixes = (list: readonly string[] | undefined) => (list ?? []).map((prefix) => parsePrefix(prefix));
  return compileCaptureSet({
    generation: 1,
    services: numbered(text.services),
    exclude: prefixes(text.exclude),
    builtins: prefixes(text.builtins),
    ranges: prefixes(text.ranges),
    rangeProtocols: text.rangeProtocols ?? ['tcp', 'udp'],
    canaries: text.canaries ?? [],
    scopes: { output: true },
    owners: { only: [], except: [] },
  });
}

/** TCP from 10.0.0.1 or 2001:db8:1::1 unless said otherwise. */
export function flow(destination: string, port: number, protocol: Protocol = 'tcp', source?: string): FlowKey {
  const family = familyOf(destination);
  const from = source ?? (family === 4 ? '10.0.0.1' : '2001:db8:1::1');
  return { family, protocol, port, destination: addressToNumber(destination), source: addressToNumber(from) };
}
