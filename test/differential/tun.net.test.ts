import { tun } from '@weir/tun';
import { mustAgree } from './agreement.ts';

/** What captured local flows come from: sources are no part of what this mechanism can choose by. */
const source = { 4: '169.254.84.1', 6: 'fd64:7765:6972:ffff::1' };

mustAgree('tun', { definition: tun, source, refusesOwnAddresses: () => true }, { needs: ['tun'] });
