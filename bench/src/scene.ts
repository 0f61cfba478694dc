/**
 * The hosts: one server, and for each candidate a client host of its own with a link to it, so that candidates can take
 * turns within seconds and none sees another's rules. A second client host is where what has to be fresh is measured.
 */
import type { TestHost, TestNetwork } from '@weir/core/testing';
import type { Task } from './candidate.ts';
import { manyFiles } from './descriptor-limit.ts';
import { scriptCommand } from './script.ts';

/** The prefix that is captured, and the server's address in it (RFC 5737). */
const PREFIX = '203.0.113.0/24';
const SERVER = '203.0.113.7';
const BULK_PORT = 5201;
const ECHO_PORT = 5202;
const HTTP_PORT = 8080;

/** Enough ports that closed connections never make a new one wait. */
const PORT_RANGE = '1024 65535';
export interface Scene {
  readonly server: TestHost;
  readonly serverPids: readonly number[];
  /** A client host and what is to be carried from it. */
  client(name: string): Promise<Task>;
}

export async function setScene(net: TestNetwork): Promise<Scene> {
  const server = await net.host('server');
  await server.addAddress('lo', `${SERVER}/32`);
  const start = (script: string, port: number) =>
    server.spawn([...manyFiles, ...scriptCommand(script, [SERVER, String(port)])]);
  const servers = [start('http-origin', HTTP_PORT), start('bulk-origin', BULK_PORT), start('echo-origin', ECHO_PORT)];
  for (const each of servers) await each.waitFor(/listening/);
  let clients = 0;
  return {
    server,
    serverPids: servers.map(({ pid }) => pid),
    async client(name) {
      const client = await net.host(name);
      const subnet = `10.1.${clients++}`;
      await net.link(client, server, { ipv4: [`${subnet}.2/24`, `${subnet}.1/24`] });
      await client.addRoute(PREFIX, { via: `${subnet}.1` });
      await client.setSysctl('net.ipv4.ip_local_port_range', PORT_RANGE);
      return {
        client,
        prefix: PREFIX,
        ports: [BULK_PORT, HTTP_PORT, ECHO_PORT],
        http: { address: SERVER, port: HTTP_PORT },
        bulk: { address: SERVER, port: BULK_PORT },
        echo: { address: SERVER, port: ECHO_PORT },
        manyFiles,
      };
    },
  };
}
