/**
 * Runs of datagrams that the kernel hands over and takes as one message (udp(7) UDP_GRO, UDP_SEGMENT): payloads of one
 * length end to end, the last perhaps shorter. The length is a control message, on the way in an int, on the way out an
 * unsigned short.
 */
import { SOL_UDP, UDP_GRO, UDP_MAX_SEGMENTS, UDP_SEGMENT } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import type { MessageBatch } from '../sys/message-batch.ts';

/** CMSG_SPACE of an int, and of an unsigned short. */
export const RUN_CONTROL = 24;
/** Most bytes of payload of one message, in either family: 65,535 less the headers of IPv4 and UDP. */
const MOST_BYTES = 65_507;
/** That many datagrams of one session and one length, received one after the other: perhaps they were one message once. */
export const RUN_LIKE = 8;

/**
 * Bytes of control data of a received message that tell of a run: 0 or RUN_CONTROL. The kernel puts them in front of all
 * others (net/ipv4/udp.c udp_recvmsg).
 */
export function runControlOf(batch: MessageBatch, n: number): number {
  if (batch.controlLength(n) < RUN_CONTROL) return 0;
  const header = batch.controlAt(n) + 8;
  if (batch.controls.getInt32(header, true) !== SOL_UDP) return 0;
  return batch.controls.getInt32(header + 4, true) === UDP_GRO ? RUN_CONTROL : 0;
}

/** Bytes of each datagram of a received message; 0: the message is one datagram. */
export function segmentOf(batch: MessageBatch, n: number): number {
  if (runControlOf(batch, n) === 0) return 0;
  const segment = batch.controls.getInt32(batch.controlAt(n) + 16, true);
  return segment > 0 && segment < batch.length(n) ? segment : 0;
}

/** How many datagrams a payload of `size` bytes is. @param segment as of `segmentOf`. */
export function datagramsIn(size: number, segment: number): number {
  // An integer for V8 too, which keeps what is counted by it so.
  return segment === 0 ? 1 : ((size + segment - 1) / segment) | 0;
}

/** Bytes of the longest part of a run that every kernel takes as one message. */
export function longestRun(segment: number): number {
  return segment * Math.max(1, Math.min(UDP_MAX_SEGMENTS, Math.floor(MOST_BYTES / segment)));
}

/** Makes the message whose control data ends at `at` a run. @returns how many bytes of control data that adds. */
export function writeSegment(controls: DataView, at: number, segment: number): number {
  controls.setBigUint64(at, 18n, true);
  controls.setInt32(at + 8, SOL_UDP, true);
  controls.setInt32(at + 12, UDP_SEGMENT, true);
  controls.setUint16(at + 16, segment, true);
  return RUN_CONTROL;
}

/** Whether RUN_LIKE of the first `count` sizes, one after the other, are the same and not 0. */
export function looksLikeRun(sizes: Int32Array, count: number): boolean {
  let alike = 0;
  for (let n = 0; n < count; n++) {
    alike = n > 0 && sizes[n] === sizes[n - 1] ? alike + 1 : 1;
    if (alike >= RUN_LIKE && sizes[n] !== 0) return true;
  }
  return false;
}

const one = Int32Array.of(1);

/**
 * Lets the kernel hand over runs as they come, from now on and for good: what has been joined in the socket's queue when
 * the option goes would come as one datagram. A kernel before Linux 5.0 refuses, and goes on handing over datagrams.
 */
export function receiveRuns(fd: number): void {
  libc.setsockopt(fd, SOL_UDP, UDP_GRO, one, 4);
}
