/** Parts of rules in the words and in the order of iptables-save, so that a plan and a listing are the same text. */
import {
  type Box,
  type Family,
  numberToAddress,
  type OwnerMatch,
  type Protocol,
  UnsupportedError,
  widthOf,
} from '@weir/core';

/** XT_MAX_COMMENT_LEN (linux/netfilter/xt_comment.h) without the terminating zero. */
const LONGEST_COMMENT = 255;

/** XT_CGROUP_PATH_MAX (linux/netfilter/xt_cgroup.h) without the terminating zero. */
const LONGEST_PATH = 511;

const LAST_PORT = 65_535;

// Without what would end the line or the comment, and cut between characters.
function commentBytes(text: string): string {
  const plain = text.replaceAll(/\p{Cc}/gu, ' ');
  let length = 0;
  let kept = '';
  for (const character of plain) {
    length += Buffer.byteLength(character);
    if (length > LONGEST_COMMENT) break;
    kept += character;
  }
  return kept;
}

/** As xtables_save_string() in libxtables quotes it. */
function quoted(text: string): string {
  if (/^[A-Za-z0-9_-]+$/.test(text)) return text;
  return `"${text.replaceAll(/["\\']/g, String.raw`\$&`)}"`;
}

/** `-m comment --comment …`. */
export function comment(text: string): string {
  return `-m comment --comment ${quoted(commentBytes(text) || ' ')}`;
}

/**
 * What matches packets of sockets of these processes.
 * @throws UnsupportedError for a control group whose path is too long for the kernel.
 */
export function ownerText(owner: OwnerMatch): string {
  if (owner.kind !== 'cgroup') {
    const { kind, first, last } = owner;
    return `-m owner --${kind}-owner ${first === last ? first : `${first}-${last}`}`;
  }
  if (Buffer.byteLength(owner.path) <= LONGEST_PATH) return `-m cgroup --path ${quoted(owner.path)}`;
  throw new UnsupportedError({
    problem: `The path of the control group is too long for iptables (${owner.path.slice(0, 40)}…).`,
    remedy: `Name a group whose path has at most ${LONGEST_PATH} bytes, or use nft.`,
  });
}

/** What matches packets that came in by this device. @throws UnsupportedError where iptables would mean others too. */
export function enteredBy(device: string): string {
  if (!device.endsWith('+')) return `-i ${device}`;
  throw new UnsupportedError({
    problem: `iptables takes the interface ${device} for all whose names begin with ${device.slice(0, -1)}.`,
    remedy: 'Give the interface another name (ip link set … name …), or use nft.',
  });
}

/** Inclusive bounds. */
export type Range = readonly [first: bigint, last: bigint];

/** The range as `address/length`, or `undefined` when it is no prefix. */
export function prefixText(family: Family, [first, last]: Range): string | undefined {
  const size = last - first + 1n;
  if ((size & (size - 1n)) !== 0n || first % size !== 0n) return undefined;
  return `${numberToAddress(family, first)}/${widthOf(family) - (size.toString(2).length - 1)}`;
}

function rangeText(family: Family, [first, last]: Range): string {
  return `${numberToAddress(family, first)}-${numberToAddress(family, last)}`;
}

export interface Match {
  readonly family: Family;
  readonly sources?: Range | undefined;
  readonly destinations?: Range | undefined;
  readonly protocol?: Protocol | undefined;
  readonly ports?: readonly [first: number, last: number] | undefined;
}

/** `-s … -d … -p … -m iprange … -m tcp --dport …`; what is everything anyway is left out. */
export function matchText({ family, sources, destinations, protocol, ports }: Match): string {
  const plain: string[] = [];
  const ranges: string[] = [];
  for (const [flag, option, range] of [
    ['-s', '--src-range', sources],
    ['-d', '--dst-range', destinations],
  ] as const) {
    if (!range) continue;
    const prefix = prefixText(family, range);
    if (prefix === undefined) ranges.push(`${option} ${rangeText(family, range)}`);
    else if (!prefix.endsWith('/0')) plain.push(`${flag} ${prefix}`);
  }
  if (protocol) plain.push(`-p ${protocol}`);
  if (ranges.length > 0) plain.push(`-m iprange ${ranges.join(' ')}`);
  if (protocol && ports && !(ports[0] === 0 && ports[1] === LAST_PORT)) {
    plain.push(`-m ${protocol} --dport ${ports[0] === ports[1] ? ports[0] : ports.join(':')}`);
  }
  return plain.join(' ');
}

/** What matches exactly the flows of a box. */
export function boxText(family: Family, box: Box): string {
  return matchText({
    family,
    sources: box.sources,
    destinations: [box.firstAddress, box.lastAddress],
    protocol: box.protocol,
    ports: [box.firstPort, box.lastPort],
  });
}

/** A mark as iptables prints it. */
export function hex(mark: number): string {
  return `0x${(mark >>> 0).toString(16)}`;
}
