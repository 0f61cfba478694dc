/** One map of the program: entries written, read and deleted by system calls. bpf(2). */
import { HostChangeError, NotPermittedError, UnsupportedError } from '@weir/core';
import { EBADF, EINVAL, ENOENT, EPERM, errnoName, SystemCallError } from '@weir/core/sys';
import { libbpf, type LibBpf } from './libbpf.ts';

/** asm-generic/errno-base.h, errno.h: the map is full. */
const E2BIG = 7;
const ENOSPC = 28;

export class BpfMap {
  readonly #f: LibBpf;
  readonly #fd: number;
  readonly #name: string;

  /** @param fd stays the program's. */
  constructor(name: string, fd: number) {
    this.#f = libbpf();
    this.#name = name;
    this.#fd = fd;
  }

  /** Adds or replaces an entry. @throws UnsupportedError when the map is full; HostChangeError otherwise. */
  set(key: Uint8Array, value: Uint8Array): void {
    const result = this.#f.bpf_map_update_elem(this.#fd, key, value, 0);
    if (result < 0) throw this.#failure(-result, 'write');
  }

  /** No error when there is none. */
  delete(key: Uint8Array): void {
    const result = this.#f.bpf_map_delete_elem(this.#fd, key);
    // A map of sockets says EINVAL.
    if (result < 0 && -result !== ENOENT && -result !== EINVAL) throw this.#failure(-result, 'delete');
  }

  /** @param length of the value in bytes. */
  get(key: Uint8Array, length: number): Buffer | undefined {
    const value = Buffer.alloc(length);
    const result = this.#f.bpf_map_lookup_elem(this.#fd, key, value);
    if (result >= 0) return value;
    if (-result === ENOENT) return undefined;
    throw this.#failure(-result, 'read');
  }

  /** All keys. Only while nobody writes. */
  keys(length: number): readonly Buffer[] {
    const keys: Buffer[] = [];
    for (;;) {
      const next = Buffer.alloc(length);
      const result = this.#f.bpf_map_get_next_key(this.#fd, keys.at(-1) ?? null, next);
      if (result < 0 && -result === ENOENT) return keys;
      if (result < 0) throw this.#failure(-result, 'list');
      keys.push(next);
    }
  }

  #failure(errno: number, what: string): Error {
    const cause = new SystemCallError(`bpf(${what} ${this.#name})`, errno, 'Restart Weir.');
    const problem = `The kernel could not ${what} an entry of the map ${this.#name}: ${errnoName(errno)}.`;
    if (errno === ENOSPC || errno === E2BIG) {
      return new UnsupportedError({ problem, remedy: 'Use fewer prefixes, or another interceptor.', cause });
    }
    if (errno === EPERM)
      return new NotPermittedError({ problem, remedy: 'Run Weir as root or give it CAP_BPF.', cause });
    const remedy = errno === EBADF ? 'Restart Weir.' : 'Free memory and reload the configuration.';
    return new HostChangeError({ problem, remedy, cause });
  }
}
