/** Probes and, where that is supported, captures one connection of each family. Prints what came of it as JSON. */
import { arrival } from '@weir/core/testing';
import { Instance, signal } from '../instance.ts';

const weir = new Instance();
const probe = await weir.interceptor.probe(signal);
const captured: unknown[] = [];
if (probe.verdict === 'supported') {
  await weir.start(weir.input([{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] }]));
  captured.push(arrival(weir.listeners[4], { address: '203.0.113.7', port: 443 }));
  captured.push(arrival(weir.listeners[6] ?? -1, { address: '2001:db8:7::1', port: 443 }));
}
await weir[Symbol.asyncDispose]();
process.stdout.write(`${JSON.stringify({ probe, captured })}\n`);
