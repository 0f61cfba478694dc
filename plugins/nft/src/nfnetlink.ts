/**
 * The two questions about nftables that are asked often, straight to the kernel: a listing by nft would load all
 * elements. linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h. Numbers are in network order here.
 */
import { attributeText, NETLINK_NETFILTER, NetlinkError, NetlinkSocket, parseAttributes } from '@weir/core/sys';

const NFNL_SUBSYS_NFTABLES = 10;
const NFPROTO_INET = 1;
const NFT_MSG_GETTABLE = 1;
const NFT_MSG_GETGEN = 16;
const NFTA_TABLE_NAME = 1;
const NFTA_TABLE_FLAGS = 2;
const NFTA_GEN_ID = 1;
const NFT_TABLE_F_DORMANT = 0x1;
const NFT_TABLE_F_OWNER = 0x2;
const ENOENT = 2;

/** struct nfgenmsg: family u8 · version u8 · res_id u16. */
const HEADER = 4;

function ask(message: number, family: number, attributes: Uint8Array, describe: string): Buffer | undefined {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  const payload = Buffer.concat([Uint8Array.of(family, 0, 0, 0), attributes]);
  const answer = socket.query({ type: (NFNL_SUBSYS_NFTABLES << 8) | message, flags: 0, payload, describe });
  return answer?.payload.subarray(HEADER);
}

function readU32BE(bytes: Buffer, type: number): number {
  const value = parseAttributes(bytes).get(type);
  return value && value.length >= 4 ? value.readUInt32BE(0) : 0;
}

/** A number that grows with every change of any table in the namespace, whoever makes it. */
export function rulesetGeneration(): number {
  const answer = ask(NFT_MSG_GETGEN, 0, new Uint8Array(), 'tell the generation of the nftables ruleset');
  return answer ? readU32BE(answer, NFTA_GEN_ID) : 0;
}

export interface TableState {
  /** The kernel removes the table with the socket that made it, and lets nobody else change it. */
  readonly owned: boolean;
  /** Its rules are switched off. */
  readonly dormant: boolean;
}

/** How the table `inet <name>` stands, or `undefined` when there is none. */
export function tableState(name: string): TableState | undefined {
  try {
    const answer = ask(
      NFT_MSG_GETTABLE,
      NFPROTO_INET,
      attributeText(NFTA_TABLE_NAME, name),
      `look at the nftables table inet ${name}`,
    );
    if (!answer) return undefined;
    const flags = readU32BE(answer, NFTA_TABLE_FLAGS);
    return { owned: (flags & NFT_TABLE_F_OWNER) !== 0, dormant: (flags & NFT_TABLE_F_DORMANT) !== 0 };
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === ENOENT) return undefined;
    throw error;
  }
}
