import { ebpfSklookup } from '@weir/ebpf-sklookup';
import { mustAgree } from './agreement.ts';

/** What captured local flows come from: sources are no part of what this mechanism can choose by. */
const source = { 4: '169.254.84.1', 6: 'fd64:7765:6972:ffff::1' };

mustAgree(
  'ebpf-sklookup',
  { definition: ebpfSklookup, source, refusesOwnAddresses: (scope) => scope !== 'output' },
  { needs: ['bpf'] },
);
