/** DNS over TCP: each message after its length in two bytes (RFC 1035 4.2.2). */

/** The message with its length before it. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(message.length + 2);
  framed.writeUInt16BE(message.length, 0);
  framed.set(message, 2);
  return framed;
}

/** Finds messages in a stream. Holds at most what was pushed and not yet taken. */
export class MessageReader {
  #chunks: Buffer[] = [];
  #length = 0;
  /** Bytes that must be there before it is worth looking again: a message sent byte by byte is joined only once. */
  #wanted = 2;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The next whole message, or undefined while it has not arrived. */
  next(): Buffer | undefined {
    if (this.#length < this.#wanted) return undefined;
    const bytes = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    const end = 2 + bytes.readUInt16BE(0);
    if (bytes.length < end) {
      this.#chunks = [bytes];
      this.#wanted = end;
      return undefined;
    }
    this.#chunks = end === bytes.length ? [] : [bytes.subarray(end)];
    this.#length = bytes.length - end;
    this.#wanted = 2;
    return bytes.subarray(2, end);
  }
}
