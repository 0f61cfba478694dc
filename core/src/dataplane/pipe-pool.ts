/**
 * Pipes for splicing, kept for reuse. A direction of a flow has one only while it moves bulk or waits for a slow reader,
 * so that idle flows cost none. The relay begins with a part of a pipe and uses more while its sink keeps up. Without
 * CAP_SYS_RESOURCE the kernel may refuse to enlarge one (pipe-user-pages-soft), then it is used as it is.
 */
import { F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import type { DescriptorLedger } from './descriptor-ledger.ts';

export const PIPE_SIZE = 1024 * 1024;
/** Where the kernel refuses the large size: over pipe-max-size or pipe-user-pages-soft. */
const FALLBACK_SIZE = 256 * 1024;

export class PipePool {
  readonly #ledger: DescriptorLedger;
  readonly #keep: number;
  /** Read and write ends, in pairs. */
  readonly #idle: number[] = [];
  readonly #ends = new Int32Array(2);

  constructor(ledger: DescriptorLedger, keep: number) {
    this.#ledger = ledger;
    this.#keep = keep;
  }

  /** Makes `readEnd` and `writeEnd` of an empty pipe current. False when no descriptor is to be had. */
  take(): boolean {
    const write = this.#idle.pop();
    if (write !== undefined) {
      this.#ends[1] = write;
      this.#ends[0] = this.#idle.pop() as number;
      return true;
    }
    if (libc.pipe2(this.#ends, O_NONBLOCK | O_CLOEXEC) < 0) return false;
    this.#ledger.opened(this.readEnd);
    this.#ledger.opened(this.writeEnd);
    if (libc.fcntl(this.writeEnd, F_SETPIPE_SZ, PIPE_SIZE) < 0) libc.fcntl(this.writeEnd, F_SETPIPE_SZ, FALLBACK_SIZE);
    return true;
  }

  get readEnd(): number {
    return this.#ends[0] as number;
  }

  get writeEnd(): number {
    return this.#ends[1] as number;
  }

  /** Takes a pipe back; one that still holds bytes is closed. */
  give(readEnd: number, writeEnd: number, empty: boolean): void {
    if (empty && this.#idle.length < 2 * this.#keep) {
      this.#idle.push(readEnd, writeEnd);
      return;
    }
    this.#close(readEnd);
    this.#close(writeEnd);
  }

  closeAll(): void {
    for (const fd of this.#idle.splice(0)) this.#close(fd);
  }

  #close(fd: number): void {
    this.#ledger.closed(fd);
    libc.close(fd);
  }
}
