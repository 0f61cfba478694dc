/**
 * Descriptors on their way from control to a worker. A message carries their numbers only, and they stand in no ledger until
 * the worker has read it: when it dies before, control closes them.
 */
import { closeWithReset } from '../sys/sockets.ts';
import type { DescriptorLedger } from './descriptor-ledger.ts';
import { HAND_OVERS_READ, type FlowSlab } from './flow-slab.ts';
import type { ToWorker } from './messages.ts';

/** The descriptors that become the worker's by this message. */
export function descriptorsOf(message: ToWorker): readonly number[] {
  if (message.type === 'attach') return [message.clientFd];
  return message.type === 'adopt' ? [message.clientFd, message.upstreamFd] : [];
}

/** Worker: owns the descriptors of a message from now on, and tells control so. Before anything that can fail. */
export function takeOver(message: ToWorker, slab: FlowSlab, ledger: DescriptorLedger): void {
  for (const fd of descriptorsOf(message)) ledger.opened(fd);
  Atomics.add(slab.head, HAND_OVERS_READ, 1);
}

/** Control's list for one worker. */
export class HandOvers {
  #sent = 0;
  #unread: Array<{ readonly serial: number; readonly fds: readonly number[] }> = [];

  /** A message with these descriptors is sent now. */
  sent(fds: readonly number[], slab: FlowSlab): void {
    this.#sent = (this.#sent + 1) | 0;
    this.#forgetRead(slab);
    this.#unread.push({ serial: this.#sent, fds });
  }

  /** Closes, with RST, what the worker has never read; the list begins anew. Only when the worker is gone. */
  closeUnread(slab: FlowSlab): void {
    this.#forgetRead(slab);
    for (const { fds } of this.#unread) for (const fd of fds) closeWithReset(fd);
    this.#unread = [];
    this.#sent = 0;
  }

  #forgetRead(slab: FlowSlab): void {
    const read = Atomics.load(slab.head, HAND_OVERS_READ);
    const first = this.#unread.findIndex(({ serial }) => ((serial - read) | 0) > 0);
    this.#unread = first < 0 ? [] : this.#unread.slice(first);
  }
}
