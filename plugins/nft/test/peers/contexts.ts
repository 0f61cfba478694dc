/** Makes and frees contexts of libnftables, as many as the argument says. */
import { LibNftables } from '../../src/libnftables.ts';

for (let n = 0; n < Number(process.argv[2]); n++) new LibNftables().close();
process.stdout.write('done\n');
