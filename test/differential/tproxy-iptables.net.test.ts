import { tproxyIptables } from '@weir/tproxy-iptables';
import { mustAgree } from './agreement.ts';

for (const variant of ['nft', 'legacy']) {
  const mechanism = { definition: tproxyIptables, options: { variant } };
  mustAgree(`tproxy-iptables (${variant})`, mechanism, { needs: [`iptables-${variant}`], sets: 5000 });
}
