/**
 * Reads the headers of one IP packet. RFC 791, 8200, 9293, 768. Everything that a length or a header says is checked
 * against what is there before it is used.
 */
import { IPPROTO_TCP, IPPROTO_UDP } from '@weir/core/sys';
import { at } from './counters.ts';

const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const IPPROTO_HOPOPTS = 0;
const IPPROTO_ROUTING = 43;
const IPPROTO_FRAGMENT = 44;
const IPPROTO_AH = 51;
const IPPROTO_DSTOPTS = 60;

const IPOPT_END = 0;
const IPOPT_NOOP = 1;
const IPOPT_LSRR = 131;
const IPOPT_SSRR = 137;

/** RFC 6275: the source that checksums are made with stands in the option, not in the header. */
const HOME_ADDRESS = 201;

/** Headers of IPv6 in front of the transport's; more are not looked at. */
const MOST_EXTENSIONS = 8;

export const WHOLE = 0;
export const FIRST_FRAGMENT = 1;
export const LATER_FRAGMENT = 2;

export class Packet {
  readonly view: DataView;
  /** Where the IP header stands. */
  start = 0;
  /** Behind the last byte. */
  end = 0;
  family: 4 | 6 = 4;
  /** Where the addresses stand. */
  source = 0;
  destination = 0;
  protocol = 0;
  /** Where the header of TCP or UDP stands; not for later fragments. */
  transport = 0;
  /** TCP: where the data stands. */
  data = 0;
  fragment = WHOLE;
  fragmentId = 0;

  constructor(view: DataView) {
    this.view = view;
  }

  /**
   * Looks at the packet that stands from `start` up to `end`.
   * @returns -1 when it is one of TCP or UDP that can be understood, otherwise the counter of why not.
   */
  read(start: number, end: number): number {
    this.start = start;
    if (end - start < 20) return at.droppedMalformed;
    const version = this.view.getUint8(start) >>> 4;
    if (version !== 4 && version !== 6) return at.droppedMalformed;
    const problem = version === 4 ? this.#read4(end) : this.#read6(end);
    if (problem >= 0) return problem;
    if (this.protocol !== IPPROTO_TCP && this.protocol !== IPPROTO_UDP) {
      const isIcmp = this.protocol === (this.family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
      return isIcmp ? at.droppedIcmp : at.droppedProtocol;
    }
    return this.fragment === LATER_FRAGMENT ? -1 : this.#readTransport();
  }

  #read4(end: number): number {
    const { view, start } = this;
    this.family = 4;
    const header = (view.getUint8(start) & 15) * 4;
    const total = view.getUint16(start + 2, false);
    if (header < 20 || total < header || start + total > end) return at.droppedMalformed;
    this.end = start + total;
    this.source = start + 12;
    this.destination = start + 16;
    this.protocol = view.getUint8(start + 9);
    this.transport = start + header;
    const place = view.getUint16(start + 6, false);
    this.fragmentId = view.getUint16(start + 4, false);
    this.#setFragment((place & 0x1fff) !== 0, (place & 0x2000) !== 0);
    return header === 20 ? -1 : this.#readOptions(start + 20, start + header);
  }

  /** With a source route the address in the header is not the one that checksums are made with. */
  #readOptions(from: number, to: number): number {
    const { view } = this;
    for (let offset = from; offset < to;) {
      const option = view.getUint8(offset);
      if (option === IPOPT_END) return -1;
      if (option === IPOPT_NOOP) {
        offset++;
        continue;
      }
      if (option === IPOPT_LSRR || option === IPOPT_SSRR) return at.droppedSourceRoute;
      const length = offset + 1 < to ? view.getUint8(offset + 1) : 0;
      if (length < 2 || offset + length > to) return at.droppedMalformed;
      offset += length;
    }
    return -1;
  }

  #read6(end: number): number {
    const { view, start } = this;
    this.family = 6;
    if (end - start < 40) return at.droppedMalformed;
    const total = 40 + view.getUint16(start + 4, false);
    if (start + total > end) return at.droppedMalformed;
    this.end = start + total;
    this.source = start + 8;
    this.destination = start + 24;
    this.#setFragment(false, false);
    let next = view.getUint8(start + 6);
    let offset = start + 40;
    for (let headers = 0; ; headers++) {
      const isOptions = next === IPPROTO_HOPOPTS || next === IPPROTO_DSTOPTS;
      if (!isOptions && next !== IPPROTO_ROUTING && next !== IPPROTO_FRAGMENT) break;
      if (headers === MOST_EXTENSIONS) return at.droppedExtension;
      if (offset + 8 > this.end) return at.droppedMalformed;
      const length = next === IPPROTO_FRAGMENT ? 8 : 8 + 8 * view.getUint8(offset + 1);
      if (offset + length > this.end) return at.droppedMalformed;
      if (next === IPPROTO_ROUTING && view.getUint8(offset + 3) !== 0) return at.droppedSourceRoute;
      if (next === IPPROTO_DSTOPTS && this.#hasHomeAddress(offset + 2, offset + length)) return at.droppedExtension;
      if (next === IPPROTO_FRAGMENT) {
        const place = view.getUint16(offset + 2, false);
        this.fragmentId = view.getUint32(offset + 4, false);
        this.#setFragment((place & 0xfff8) !== 0, (place & 1) !== 0);
      }
      next = view.getUint8(offset);
      offset += length;
      // What follows in a later fragment is not a header.
      if (this.fragment === LATER_FRAGMENT) break;
    }
    if (next === IPPROTO_AH) return at.droppedAuthenticated;
    this.protocol = next;
    this.transport = offset;
    return -1;
  }

  #hasHomeAddress(from: number, to: number): boolean {
    const { view } = this;
    for (let offset = from; offset < to;) {
      const option = view.getUint8(offset);
      if (option === HOME_ADDRESS) return true;
      if (option === 0) offset++;
      else if (offset + 1 < to) offset += 2 + view.getUint8(offset + 1);
      else return false;
    }
    return false;
  }

  #setFragment(later: boolean, more: boolean): void {
    if (later) this.fragment = LATER_FRAGMENT;
    else this.fragment = more ? FIRST_FRAGMENT : WHOLE;
  }

  #readTransport(): number {
    const { view, transport, end } = this;
    const room = end - transport;
    if (this.protocol === IPPROTO_UDP) {
      if (room < 8) return at.droppedMalformed;
      const length = view.getUint16(transport + 4, false);
      if (length < 8 || (this.fragment === WHOLE && length > room)) return at.droppedMalformed;
      this.data = transport + 8;
      return -1;
    }
    if (room < 20) return at.droppedMalformed;
    const header = (view.getUint8(transport + 12) >>> 4) * 4;
    if (header < 20 || header > room) return at.droppedMalformed;
    this.data = transport + header;
    return -1;
  }
}
