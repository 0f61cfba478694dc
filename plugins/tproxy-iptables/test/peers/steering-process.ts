/** Steers 203.0.113.0/24 and 2001:db8:7::/48 port 443 with the variant of argv, says so, and waits to be killed. */
import { instance, type Variant } from '../variants.ts';

const weir = instance(process.argv[2] as Variant);
await weir.start(weir.input([{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] }]));
process.stdout.write('ready\n');
setInterval(() => undefined, 60_000);
