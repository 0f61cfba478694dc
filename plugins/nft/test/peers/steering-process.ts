/** A process that steers until it is killed. Arguments: on-crash. Prints `ready` when it does. */
import { instance } from '../instance.ts';

const weir = instance({ onCrash: process.argv[2] === 'closed' ? 'closed' : 'open' });
await weir.start(weir.input([{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] }]));
process.stdout.write('ready\n');
setInterval(() => {}, 60_000);
