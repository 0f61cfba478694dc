/**
 * Node's HTTP modules without their whole surface. A static `import … from 'node:http'` reads every export, and the
 * getters of some load Node's WebSocket and fetch: 50 to 100 ms of a start, for nothing. What is asked for here is loaded
 * when it is first used.
 */
import type * as http from 'node:http';
import type * as http2 from 'node:http2';

export const httpModule = (): typeof http => process.getBuiltinModule('node:http');
export const http2Module = (): typeof http2 => process.getBuiltinModule('node:http2');
