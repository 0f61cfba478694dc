/** One UDP socket that takes queries and sends answers. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Endpoint } from '../api/flow.ts';
import { familyOf } from '../capture/address.ts';
import { MSG_DONTWAIT, SO_RCVBUF, SO_RCVBUFFORCE, SOL_SOCKET } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { MessageBatch } from '../sys/message-batch.ts';
import { readSockaddr, SOCKADDR_LENGTH, sockaddrLength, writeSockaddr } from '../sys/sockaddr.ts';
import { openSocket, socketName } from '../sys/sockets.ts';
import { listenFailure } from './listen-failure.ts';

/**
 * Bytes of the kernel's receive queue. The default holds fewer than 300 queries, and a client whose query is lost asks
 * again only after seconds; this holds a burst of about 10,000.
 */
const RECEIVE_BUFFER = 8 * 1024 * 1024;
/** Bytes of answers waiting to be sent, over which answers are dropped. */
const SEND_QUEUE = 4 * 1024 * 1024;

/** Queries that are taken together at most, besides the one that dgram brings. */
const BATCH = 16;
/** Bytes. What is longer is cut there, and malformed then. */
const LONGEST_QUERY = 4096;

/** Where a query came from: a sockaddr as long as its family's, or what dgram says where that has a scope. */
type Client = Buffer<ArrayBufferLike> | RemoteInfo;

export interface UdpListenerOptions {
  readonly endpoint: Endpoint;
  readonly mark: number;
  /** Answers `message`, at once or later, or not; never rejects. Bytes given at once are sent before it is called again. */
  readonly respond: (message: Buffer) => Buffer | Promise<Buffer | undefined> | undefined;
  readonly onSendError: () => void;
}

export class UdpListener {
  readonly endpoint: Endpoint;
  readonly #socket: Socket;
  /** The descriptor of `#socket`, which closes it. */
  readonly #fd: number;
  readonly #options: UdpListenerOptions;
  /** A sockaddr: its address is that of `#clientAddress`, its port that of whoever was answered last. */
  readonly #client = Buffer.alloc(SOCKADDR_LENGTH);
  readonly #clientName: Buffer;
  #clientAddress = '';
  /** Room for queries that are taken together, and where each came from. */
  readonly #more: { readonly batch: MessageBatch; readonly names: readonly Buffer[] };
  #closed = false;
  readonly #sent = (error: Error | null): void => {
    if (error !== null) this.#options.onSendError();
  };

  /** Opens the socket and takes queries at once. @throws WeirError when the endpoint cannot be had. */
  constructor(options: UdpListenerOptions) {
    this.#options = options;
    const family = familyOf(options.endpoint.address);
    let fd: number;
    try {
      fd = openSocket({ family, protocol: 'udp', mark: options.mark, bind: options.endpoint });
    } catch (error) {
      throw listenFailure({ protocol: 'udp', endpoint: options.endpoint }, error);
    }
    this.endpoint = socketName(fd);
    // Without CAP_NET_ADMIN the kernel refuses the first, and caps the second at net.core.rmem_max.
    const size = Int32Array.of(RECEIVE_BUFFER);
    if (libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, 4) < 0) {
      libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size, 4);
    }
    this.#fd = fd;
    const length = sockaddrLength(family);
    this.#clientName = this.#client.subarray(0, length);
    const batch = new MessageBatch({ messages: BATCH, payload: LONGEST_QUERY, control: 0 });
    const nameAt = (n: number) => Buffer.from(batch.names.buffer, batch.nameAt(n), length);
    this.#more = { batch, names: Array.from({ length: BATCH }, (_, n) => nameAt(n)) };
    this.#socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6' });
    this.#socket.on('message', (message, client) => this.#take(message, client));
    this.#socket.on('error', () => options.onSendError());
    this.#socket.bind({ fd, exclusive: true });
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }

  #take(message: Buffer, client: RemoteInfo): void {
    // A scope (fe80::1%eth0) is the name of an interface, which dgram looks up.
    this.#answer(message, client.address.includes('%') ? client : this.#nameOf(client));
    this.#takeMore();
  }

  /**
   * What has come meanwhile, by one system call. dgram takes one and an allocation of 64 KiB for each, and the last query of
   * a burst waits for all of them.
   */
  #takeMore(): void {
    if (this.#closed) return;
    const { batch, names } = this.#more;
    const count = batch.receive(this.#fd, MSG_DONTWAIT);
    for (let n = 0; n < count; n++) {
      const at = batch.payloadAt(n);
      // A copy: the answer may come later.
      this.#answer(Buffer.from(batch.payloads.subarray(at, at + batch.length(n))), names[n] as Buffer);
    }
  }

  #answer(message: Buffer, client: Client): void {
    // Port 0 cannot be answered.
    if ((Buffer.isBuffer(client) ? client.readUInt16BE(2) : client.port) === 0) return;
    const response = this.#options.respond(message);
    if (response === undefined) return;
    if (Buffer.isBuffer(response)) {
      this.#send(response, client);
      return;
    }
    const kept = Buffer.isBuffer(client) ? Buffer.from(client) : client;
    void response.then((bytes) => bytes !== undefined && this.#send(bytes, kept));
  }

  /**
   * Sends with one system call; dgram's `send` looks the address up, makes objects and waits a tick before it does. What the
   * kernel refuses is left to dgram, which waits until there is room and tells the reason of a failure.
   */
  #send(bytes: Buffer, client: Client): void {
    if (this.#closed) return;
    const named = Buffer.isBuffer(client);
    if (named && libc.sendto(this.#fd, bytes, bytes.length, MSG_DONTWAIT, client, client.length) >= 0) return;
    if (this.#socket.getSendQueueSize() > SEND_QUEUE) {
      this.#options.onSendError();
      return;
    }
    const { address, port } = named ? readSockaddr(client) : client;
    this.#socket.send(Buffer.from(bytes), port, address, this.#sent);
  }

  /** Good until it is asked for another. */
  #nameOf({ address, port }: RemoteInfo): Buffer {
    if (address !== this.#clientAddress) {
      writeSockaddr(this.#client, { address, port });
      this.#clientAddress = address;
    }
    this.#client.writeUInt16BE(port, 2);
    return this.#clientName;
  }
}
