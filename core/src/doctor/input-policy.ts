/** Check `input`: a packet filter that drops what was captured on its last step, in the hook `input`. */
import type { DoctorContext } from './context.ts';
import { verdictOn } from './firewall.ts';
import { fine, type Finding } from './report.ts';

const CHECK = 'input';

export function checkInput({ firewall, numbers }: Pick<DoctorContext, 'firewall' | 'numbers'>): readonly Finding[] {
  const dropping = firewall.chains.filter(
    (chain) =>
      chain.hook === 'input' && chain.owner === undefined && verdictOn(firewall, chain, numbers.captureMark) === 'drop',
  );
  if (dropping.length === 0) return [fine(CHECK, 'no input chain drops what is captured on this host')];
  return dropping.map(({ table, name, acceptLoopback }) => ({
    check: CHECK,
    severity: 'problem',
    what: `the chain ${name} of ${table} drops what comes by the loopback device, and with it all that is captured`,
    remedy: 'Let in what comes by the loopback device; it is traffic of this host with itself.',
    command: acceptLoopback,
  }));
}
