/**
 * Modules of Node that cost a start too much: HTTP's and TLS's. A static `import … from 'node:http'` reads every export, and
 * the getters of some load Node's WebSocket and fetch: 50 to 100 ms of a start, for nothing; `node:tls` decodes the
 * certificates of all public authorities. What is asked for here is loaded when it is first used.
 */
import type * as http from 'node:http';
import type * as http2 from 'node:http2';
import type * as tls from 'node:tls';

export const httpModule = (): typeof http => process.getBuiltinModule('node:http');
export const http2Module = (): typeof http2 => process.getBuiltinModule('node:http2');
export const tlsModule = (): typeof tls => process.getBuiltinModule('node:tls');
