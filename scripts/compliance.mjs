// npm run compliance: what every interceptor must do, as a table. See scripts/compliance.ts.
import { runScript } from './setup.mjs';

await runScript('scripts/compliance.ts', 'test');
