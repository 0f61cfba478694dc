// npm start: Weir's main job, shown on private hosts. See scripts/start.ts.
import { runScript } from './setup.mjs';

await runScript('scripts/start.ts', 'start');
