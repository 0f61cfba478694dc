/** What mechanisms can do that capture by these routes. */
import type { Capabilities } from '../../api/interceptor.ts';

export const ROUTED_CAPABILITIES: Capabilities = {
  networks: [
    { family: 4, protocol: 'tcp' },
    { family: 6, protocol: 'tcp' },
    { family: 4, protocol: 'udp' },
    { family: 6, protocol: 'udp' },
  ],
  scopes: ['output', 'forward'],
  transparent: true,
  // Local flows get Weir's own source address with the route that brings them here; forwarded ones keep theirs.
  preservesSource: false,
  owners: ['uid'],
  // The kernel delivers to them before it asks any rule. What sk_lookup takes there, it takes from Weir itself too.
  ownAddresses: false,
};
