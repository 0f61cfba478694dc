/**
 * The questions about nftables that a listing by nft would answer slowly or not at all, straight to the kernel, and the
 * removal of empty tables. linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h. Numbers are in network order here.
 */
import { attributeText, parseAttributes, readText } from './attribute.ts';
import { NETLINK_NETFILTER } from './constants.ts';
import { NetlinkError, type NetlinkRequest, NetlinkSocket } from './socket.ts';

const NFNL_SUBSYS_NFTABLES = 10;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFT_MSG_GETTABLE = 1;
const NFT_MSG_DELTABLE = 2;
const NFT_MSG_GETCHAIN = 4;
const NFT_MSG_DELCHAIN = 5;
const NFT_MSG_GETGEN = 16;
const NFTA_TABLE_NAME = 1;
const NFTA_TABLE_FLAGS = 2;
const NFTA_TABLE_USE = 3;
const NFTA_CHAIN_TABLE = 1;
const NFTA_CHAIN_NAME = 3;
const NFTA_CHAIN_HOOK = 4;
const NFTA_CHAIN_POLICY = 5;
const NFTA_CHAIN_USE = 6;
const NFTA_GEN_ID = 1;
const NFT_TABLE_F_DORMANT = 0x1;
const NFT_TABLE_F_OWNER = 0x2;
const NF_ACCEPT = 1;
/** Refuse to delete what is not empty (linux/netlink.h). */
const NLM_F_NONREC = 0x100;
/** asm-generic/errno-base.h, errno.h: none of this name; something is in it. */
const ENOENT = 2;
const EBUSY = 16;

/** Families of tables as nft writes them, with the kernel's numbers (linux/netfilter.h). */
const FAMILIES = { inet: 1, ip: 2, ip6: 10 } as const;

export type NftFamily = keyof typeof FAMILIES;

/** struct nfgenmsg: family u8 · version u8 · res_id u16. */
const HEADER = 4;

function generic(family: number, attributes: readonly Uint8Array[], resource = 0): Buffer {
  return Buffer.concat([Uint8Array.of(family, 0, resource >> 8, resource & 0xff), ...attributes]);
}

function ask(message: number, family: number, attributes: readonly Uint8Array[], describe: string): Buffer | undefined {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  const payload = generic(family, attributes);
  const answer = socket.query({ type: (NFNL_SUBSYS_NFTABLES << 8) | message, flags: 0, payload, describe });
  return answer?.payload.subarray(HEADER);
}

function readU32BE(bytes: Buffer, type: number): number {
  const value = parseAttributes(bytes).get(type);
  return value && value.length >= 4 ? value.readUInt32BE(0) : 0;
}

/** A number that grows with every change of any table in the namespace, whoever makes it. */
export function rulesetGeneration(): number {
  const answer = ask(NFT_MSG_GETGEN, 0, [], 'tell the generation of the nftables ruleset');
  return answer ? readU32BE(answer, NFTA_GEN_ID) : 0;
}

export interface NftTableState {
  /** The kernel removes the table with the socket that made it, and lets nobody else change it. */
  readonly owned: boolean;
  /** Its rules are switched off. */
  readonly dormant: boolean;
  /** Chains, sets and whatever else is in it. */
  readonly uses: number;
}

/** How a table stands, or `undefined` when there is none of this name. */
export function nftTable(family: NftFamily, name: string): NftTableState | undefined {
  try {
    const answer = ask(
      NFT_MSG_GETTABLE,
      FAMILIES[family],
      [attributeText(NFTA_TABLE_NAME, name)],
      `look at the nftables table ${family} ${name}`,
    );
    if (!answer) return undefined;
    const flags = readU32BE(answer, NFTA_TABLE_FLAGS);
    return {
      owned: (flags & NFT_TABLE_F_OWNER) !== 0,
      dormant: (flags & NFT_TABLE_F_DORMANT) !== 0,
      uses: readU32BE(answer, NFTA_TABLE_USE),
    };
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === ENOENT) return undefined;
    throw error;
  }
}

export interface NftChainState {
  readonly name: string;
  /** It stands at a hook: packets come to it by themselves. */
  readonly base: boolean;
  /** Rules in it, and rules that lead to it. */
  readonly uses: number;
  /** Its policy lets pass what no rule decides. Only base chains have one. */
  readonly accepts: boolean;
}

/** All chains of a table; none when there is no such table. */
export function nftChains(family: NftFamily, table: string): readonly NftChainState[] {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  const type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN;
  return socket.dump(type, generic(FAMILIES[family], []), 'list the nftables chains').flatMap(({ payload }) => {
    const bytes = payload.subarray(HEADER);
    const attributes = parseAttributes(bytes);
    const name = readText(attributes, NFTA_CHAIN_NAME);
    if (readText(attributes, NFTA_CHAIN_TABLE) !== table || name === undefined) return [];
    return [
      {
        name,
        base: attributes.has(NFTA_CHAIN_HOOK),
        uses: readU32BE(bytes, NFTA_CHAIN_USE),
        accepts: readU32BE(bytes, NFTA_CHAIN_POLICY) === NF_ACCEPT,
      },
    ];
  });
}

/**
 * Removes base chains, and the table when asked, in one transaction: all of it, or nothing when anything is in one of them.
 * @returns whether it was done.
 * @throws NetlinkError, NotPermittedError when the kernel refuses for another reason.
 */
export function removeEmptyNft(
  family: NftFamily,
  table: string,
  { chains, whole }: { readonly chains: readonly string[]; readonly whole: boolean },
): boolean {
  const number = FAMILIES[family];
  const request = (message: number, attributes: readonly Uint8Array[], describe: string): NetlinkRequest => ({
    type: (NFNL_SUBSYS_NFTABLES << 8) | message,
    flags: NLM_F_NONREC,
    payload: generic(number, attributes),
    describe,
  });
  const requests = [
    ...chains.map((chain) =>
      request(
        NFT_MSG_DELCHAIN,
        [attributeText(NFTA_CHAIN_TABLE, table), attributeText(NFTA_CHAIN_NAME, chain)],
        `remove the nftables chain ${family} ${table} ${chain}`,
      ),
    ),
    ...(whole
      ? [
          request(
            NFT_MSG_DELTABLE,
            [attributeText(NFTA_TABLE_NAME, table)],
            `remove the nftables table ${family} ${table}`,
          ),
        ]
      : []),
  ];
  if (requests.length === 0) return true;
  const envelope = (type: number): NetlinkRequest => ({
    type,
    flags: 0,
    payload: generic(0, [], NFNL_SUBSYS_NFTABLES),
    describe: `remove empty chains of the nftables table ${family} ${table}`,
  });
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  const refused = socket
    .transact(envelope(NFNL_MSG_BATCH_BEGIN), requests, envelope(NFNL_MSG_BATCH_END))
    .filter((error) => error !== undefined);
  const expected = (error: unknown) =>
    error instanceof NetlinkError && (error.errno === EBUSY || error.errno === ENOENT);
  const unexpected = refused.find((error) => !expected(error));
  if (unexpected) throw unexpected;
  return refused.length === 0;
}
