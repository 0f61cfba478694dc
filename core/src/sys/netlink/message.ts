/**
 * Netlink messages (linux/netlink.h, struct nlmsghdr): length u32 @0 · type u16 @4 · flags u16 @6 · sequence u32 @8 ·
 * port u32 @12 · payload, padded to 4 bytes. An error message's payload is errno i32 (negative) · the request's header
 * · with NLM_F_CAPPED no more of the request, otherwise all of it · with NLM_F_ACK_TLVS attributes.
 */
import { aligned, parseAttributes, readText } from './attribute.ts';
import { NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSGERR_ATTR_MSG } from './constants.ts';

export const HEADER_LENGTH = 16;

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Behind the header, without padding. */
  readonly payload: Buffer;
}

/** Puts a header before `payload`; the kernel fills in the port. */
export function encodeMessage(type: number, flags: number, sequence: number, payload: Uint8Array): Buffer {
  const length = HEADER_LENGTH + payload.length;
  const buffer = Buffer.alloc(aligned(length));
  buffer.writeUInt32LE(length, 0);
  buffer.writeUInt16LE(type, 4);
  buffer.writeUInt16LE(flags, 6);
  buffer.writeUInt32LE(sequence >>> 0, 8);
  buffer.set(payload, HEADER_LENGTH);
  return buffer;
}

/** The messages of one datagram. A length that leads outside ends the list. */
export function* decodeMessages(bytes: Buffer): Generator<NetlinkMessage> {
  let at = 0;
  while (at + HEADER_LENGTH <= bytes.length) {
    const length = bytes.readUInt32LE(at);
    if (length < HEADER_LENGTH || at + length > bytes.length) return;
    yield {
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      payload: bytes.subarray(at + HEADER_LENGTH, at + length),
    };
    at += aligned(length);
  }
}

/** What an NLMSG_ERROR or NLMSG_DONE message says: 0 for success, or the errno and the kernel's own words, if any. */
export function decodeError(message: NetlinkMessage): { readonly errno: number; readonly text?: string } {
  if (message.payload.length < 4) return { errno: 0 };
  const errno = Math.abs(message.payload.readInt32LE(0));
  if (errno === 0 || (message.flags & NLM_F_ACK_TLVS) === 0 || message.payload.length < 4 + HEADER_LENGTH) {
    return { errno };
  }
  const request = (message.flags & NLM_F_CAPPED) === 0 ? message.payload.readUInt32LE(4) : HEADER_LENGTH;
  const text = readText(parseAttributes(message.payload.subarray(4 + aligned(request))), NLMSGERR_ATTR_MSG);
  return text === undefined ? { errno } : { errno, text };
}
