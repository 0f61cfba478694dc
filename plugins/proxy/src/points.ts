/** One ordinary listening socket per service with `listen:`; everything that arrives there is for that service. */
import { familyOf, type PointSpec, type ServiceListener, UnsupportedError } from '@weir/core';

/** @throws UnsupportedError for a service that wants UDP. */
export function pointsOf(listeners: readonly ServiceListener[]): readonly PointSpec[] {
  return listeners.map(({ service, name, listen, protocols, sources, target }) => {
    if (protocols.includes('udp')) {
      throw new UnsupportedError({
        problem: `The service ${name} wants UDP, and the proxy interceptor has no UDP listeners yet.`,
        remedy: 'Leave udp out of its `protocols`; UDP listeners come with the issue "UDP" (issue 4).',
      });
    }
    return {
      id: name,
      network: { family: familyOf(listen.address), protocol: 'tcp' },
      bind: listen,
      transparent: false,
      original: { via: 'fixed', service, target, ...(sources.length > 0 ? { sources } : {}) },
    };
  });
}
