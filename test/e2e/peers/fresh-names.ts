/**
 * Names nobody has asked for before, resolved and connected to at once: `fresh-names.ts SUFFIX PORT COUNT PARALLEL`.
 * Asks the server of /etc/resolv.conf for an A record, connects, sends the name and expects it back. Prints JSON: how many
 * came back right, what failed and how often.
 */
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { connect } from 'node:net';

const [, , suffix = '', port = '', count = '', parallel = ''] = process.argv;
const resolver = new Resolver({ timeout: 5000, tries: 3 });
const failures: Record<string, number> = {};
const addresses = new Set<string>();
let right = 0;
let next = 0;

async function one(name: string): Promise<void> {
  const [address = ''] = await resolver.resolve4(name);
  addresses.add(address);
  const socket = connect({ host: address, port: Number(port) });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(10_000) });
    socket.end(name);
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    if (text !== name) throw Object.assign(new Error('wrong answer'), { code: 'WRONG' });
    right++;
  } finally {
    socket.destroy();
  }
}

async function lane(): Promise<void> {
  while (next < Number(count)) {
    const name = `n${next++}.${suffix}`;
    try {
      await one(name);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      failures[code] = (failures[code] ?? 0) + 1;
    }
  }
}

await Promise.all(Array.from({ length: Number(parallel) }, lane));
process.stdout.write(`${JSON.stringify({ right, addresses: addresses.size, failures })}\n`);
