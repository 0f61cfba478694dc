/** What this mechanism cannot do, said before anything is changed. */
import { formatPrefix, ownAddressTest, type PlanInput, UnsupportedError } from '@weir/core';

/** @throws UnsupportedError naming the limit. */
export function refuseUnsupported({ set, facts }: Pick<PlanInput, 'set' | 'facts'>): void {
  if (set.scopes.forward) {
    throw new UnsupportedError({
      problem: 'The interceptor tun does not steer forwarded traffic yet.',
      remedy: 'Forward comes later; leave `forward` out of `capture.scopes`.',
    });
  }
  const isOwn = ownAddressTest(facts);
  const named = set.rows.find(
    ({ prefix, ports }) =>
      isOwn(prefix) && ports.some(({ choices }) => choices.some(({ verdict }) => verdict !== 'spare')),
  );
  if (named) {
    throw new UnsupportedError({
      problem: `The interceptor tun cannot capture ${formatPrefix(named.prefix)}: the kernel delivers to addresses of this host before it asks any rule.`,
      remedy: 'Leave addresses of this host out of `services`, or use the interceptor nft or tproxy-iptables.',
    });
  }
}
