/**
 * Random packets into a device, as the kernel hands them to whoever reads it: `packet-sender.ts DEVICE COUNT SEED`. A
 * packet(7) socket with PACKET_VNET_HDR; what the kernel does not take with its virtio_net_hdr goes again without.
 * Waits for the reader, so that none is lost in the device's queue. Prints one JSON line: how many were sent and refused.
 */
import { readFileSync } from 'node:fs';
import { checked, libc } from '@weir/core/sys';
import { VNET_HEADER } from '../../src/packet-path.ts';
import { RandomPackets } from '../random-packets.ts';

// linux/if_packet.h, linux/if_ether.h
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOL_PACKET = 263;
const PACKET_VNET_HDR = 15;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
/** Half of the device's queue. */
const BATCH = 500;
const PATIENCE = 5000;
/** After that many the queue is let run empty: it has the kernel's own answers too, which nobody here counts. */
const ROUND = 20 * BATCH;
/** Milliseconds in which nothing is read from a queue that is empty. */
const QUIET = 50;

const [device = '', count = '1000', seed = '1'] = process.argv.slice(2);
const random = new RandomPackets(Number(seed));
const statistic = (name: string) => Number(readFileSync(`/sys/class/net/${device}/statistics/${name}`, 'utf8'));
const index = Number(readFileSync(`/sys/class/net/${device}/ifindex`, 'utf8'));

const fd = checked(libc.socket(AF_PACKET, SOCK_RAW, 0), 'socket(AF_PACKET)', 'Run this as root.');
const one = Int32Array.of(1);
checked(libc.setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, one, 4), 'setsockopt(PACKET_VNET_HDR)', 'Report this.');

/** struct sockaddr_ll */
function place(protocol: number): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, protocol, false);
  view.setInt32(4, index, true);
  return bytes;
}
const places = { 4: place(ETH_P_IP), 6: place(ETH_P_IPV6) };

let sent = 0;
let plain = 0;
let refused = 0;
const before = { read: statistic('tx_packets'), lost: statistic('tx_dropped') };

function send(packet: Uint8Array): boolean {
  const to = (packet[VNET_HEADER] ?? 0) >>> 4 === 6 ? places[6] : places[4];
  return libc.sendto(fd, packet, packet.length, 0, to, to.length) === packet.length;
}

const handled = () => statistic('tx_packets') + statistic('tx_dropped');
/** What was handled, and how many of ours had been sent, when the queue was last empty. */
let empty = { handled: handled(), sent: 0 };

async function read(): Promise<void> {
  const deadline = Date.now() + PATIENCE;
  while (handled() - empty.handled < sent - empty.sent && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function readAll(): Promise<void> {
  await read();
  let last = -1;
  while (last !== handled()) {
    last = handled();
    await new Promise((resolve) => setTimeout(resolve, QUIET));
  }
  empty = { handled: last, sent };
}

while (sent < Number(count)) {
  const { packet } = random.next();
  if (send(packet)) sent++;
  else {
    packet.fill(0, 0, VNET_HEADER);
    if (packet.length > VNET_HEADER && send(packet)) {
      sent++;
      plain++;
    } else refused++;
  }
  // eslint-disable-next-line no-await-in-loop -- the device's queue is what it waits for
  if ((sent + refused) % BATCH === 0) await ((sent + refused) % ROUND === 0 ? readAll() : read());
}
await readAll();
const gone = { read: statistic('tx_packets') - before.read, lost: statistic('tx_dropped') - before.lost };
process.stdout.write(`${JSON.stringify({ sent, plain, refused, ...gone })}\n`);
