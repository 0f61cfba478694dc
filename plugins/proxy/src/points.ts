/** One ordinary socket per service with `listen:` and protocol; everything that arrives there is for that service. */
import { familyOf, type PointSpec, type ServiceListener } from '@weir/core';

export function pointsOf(listeners: readonly ServiceListener[]): readonly PointSpec[] {
  return listeners.flatMap(({ service, name, listen, protocols, sources, target }) =>
    protocols.map((protocol): PointSpec => ({
      id: protocol === 'tcp' ? name : `${name}/${protocol}`,
      network: { family: familyOf(listen.address), protocol },
      bind: listen,
      transparent: false,
      original: { via: 'fixed', service, target, ...(sources.length > 0 ? { sources } : {}) },
    })),
  );
}
