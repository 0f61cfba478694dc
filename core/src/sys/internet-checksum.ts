/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624). Sums are 16 bits, of words in network order;
 * what is in a header is the complement of a sum, unless the kernel left the rest of the sum to whoever sends the packet.
 */

/** The sum of two sums. */
export function plus(a: number, b: number): number {
  const sum = a + b;
  return (sum & 0xffff) + (sum >>> 16);
}

/** What takes a sum back to what it was before that was added. */
export function negative(sum: number): number {
  return ~sum & 0xffff;
}

/** The sum of bytes as words; an odd last byte counts as the high half of one. */
export function sumOf(view: DataView, start: number, end: number): number {
  let sum = 0;
  let at = start;
  for (; at + 1 < end; at += 2) sum += view.getUint16(at, false);
  if (at < end) sum += view.getUint8(at) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/** A checksum as it stands in a header, after the words below it have changed by `difference`. */
export function updated(checksum: number, difference: number): number {
  return ~plus(~checksum & 0xffff, difference) & 0xffff;
}
