/** How the host is changed, and what is known about it. Everything that outlives a process goes through here. */

/**
 * One change of the host that would outlive the process: a table, a rule, a file. Containers, not elements: what is
 * inside a container that is ours needs no entry of its own.
 */
export interface HostChange {
  /** Stable name of the change within one run, e.g. `nft table inet weir_default`. */
  readonly id: string;
  /** One line for people: what is about to be changed. */
  readonly describe: string;
  /** Data for the undo of a successor that has only the journal; JSON, no secrets. */
  readonly undoData?: unknown;
  /** Makes the change: all of it, or none when it throws. */
  do(): void | Promise<void>;
  /** Takes it back; idempotent, also when `do` never ran or half of it is gone. */
  undo(): void | Promise<void>;
}

export interface HostChanges {
  /**
   * Writes the change to the journal, flushes it, makes it, and remembers the undo.
   * @throws HostChangeError (cause kept) when `do` failed; the journal then no longer lists the change.
   */
  change(change: HostChange): Promise<void>;
  /** Undoes one change now, out of turn, and strikes it from the journal. No error when it is not listed. */
  undo(id: string): Promise<void>;
  /** Undoes all that is left, newest first. Goes on after a failure and throws one error that names all of them. */
  undoAll(): Promise<void>;
}

/**
 * The numbers an owner may use. A slot is claimed by flock, so that owners in one network namespace never share any.
 * Design: mask 0x3f000000, a block of 16 tables and 16 preferences per slot.
 */
export interface HostNumbers {
  readonly slot: number;
  /** Bits of the fwmark that Weir uses; all others are kept as they are. */
  readonly mask: number;
  /** On packets that are to be captured. */
  readonly captureMark: number;
  /** On every socket Weir opens. */
  readonly bypassMark: number;
  /** First of 16 routing tables. */
  readonly table: number;
  /** First of 16 rule preferences, before `main`. */
  readonly preference: number;
  /** A rule preference behind `main` and `default` (32766, 32767). */
  readonly preferenceBehindMain: number;
  /** rtm_protocol on every route and FRA_PROTOCOL on every rule. */
  readonly protocolId: number;
}

/** A control group (version 2) of which processes are chosen. */
export interface ControlGroup {
  /** From the root of the hierarchy, with a leading slash. */
  readonly path: string;
  /** The kernel's number of it; a group that was removed and made again has another one. */
  readonly id: string;
}

/** What the engine knows about the network namespace; recomputed when netlink says that it changed. */
export interface HostFacts {
  readonly netns: string;
  /** False where the kernel has no IPv6 or `disable_ipv6` is set for all. */
  readonly ipv6: boolean;
  /** A global IPv4 address of this host, if it has one; source of local flows to prefixes without a route. */
  readonly globalIpv4?: string;
  readonly globalIpv6?: string;
  /** Own addresses and connected networks as text prefixes, e.g. `10.1.0.2/32`, `10.1.0.0/24`. */
  readonly ownAddresses: readonly string[];
  readonly connectedNetworks: readonly string[];
  /**
   * Of the control groups that `CaptureOwners` names, those that exist now. Absent: nobody has looked, and all of them
   * count as existing.
   */
  readonly controlGroups?: readonly ControlGroup[];
}
