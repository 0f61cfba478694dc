/** The scene of `npm start`: a client host without default route, a server host, and what Weir is told to capture. */
import { startPeer, type TestHost, type TestNetwork } from '@weir/core/testing';

/** The configuration, as a person would write it. */
export const CONFIGURATION = `# Who asks for shop.internal, any name below it, or any address of these two prefixes, on port 80,
# is carried to the HTTP server on port 8080 of 10.1.0.1. None of these names and addresses exists.
services:
  - name: shop
    addresses: [shop.internal, "*.shop.internal", 203.0.113.0/24, "2001:db8:1::/48"]
    ports: [80]
    dialer: { type: direct, to: "10.1.0.1:8080" }
`;

/** What the client asks for: by name, by a name below it, by IPv4 prefix, by IPv6 prefix. */
export const REQUESTS: readonly string[] = [
  'http://shop.internal/',
  'http://eu.shop.internal/basket',
  'http://203.0.113.7/',
  'http://[2001:db8:1::7]/',
];

export const DIRECT = 'http://10.1.0.1:8080';

export interface Scene {
  readonly client: TestHost;
  readonly server: TestHost;
  /** Path of the configuration inside the client host. */
  readonly file: string;
}

export async function setScene(net: TestNetwork): Promise<Scene> {
  const client = await net.host('client', { resolvConf: '# as it was\nnameserver 192.0.2.53\n' });
  const server = await net.host('server');
  await net.link(client, server, {
    ipv4: ['10.1.0.2/24', '10.1.0.1/24'],
    ipv6: ['fd00:1::2/64', 'fd00:1::1/64'],
  });
  await startPeer(server, 'http-server', ['--listen', '0.0.0.0:8080', '--name', 'the real server']);
  const file = '/run/weir.yaml';
  await client.check(['sh', '-c', `cat > ${file} && chmod 600 ${file}`], { input: CONFIGURATION });
  return { client, server, file };
}
