import { nft } from '@weir/nft';
import { mustAgree } from './agreement.ts';

mustAgree('nft', { definition: nft }, { needs: ['nft'] });
