// npm run bench: compares the interceptors with each other, with no interception, and with other programs where they are
// installed. See bench/src/main.ts.
import { runScript } from './setup.mjs';

await runScript('bench/src/main.ts', 'test');
