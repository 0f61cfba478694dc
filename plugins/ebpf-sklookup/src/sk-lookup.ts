/** The program in the kernel: loaded with its maps, attached to a network namespace, gone with this object. */
import { readFileSync } from 'node:fs';
import { HostChangeError, NotPermittedError, UnsupportedError, type WeirError } from '@weir/core';
import {
  checked,
  EACCES,
  EAGAIN,
  EINVAL,
  EPERM,
  errnoName,
  libc,
  O_CLOEXEC,
  O_RDONLY,
  SystemCallError,
} from '@weir/core/sys';
import { type BpfObject, libbpf, type LibBpf } from './libbpf.ts';
import { essentialLines } from './verifier-log.ts';

const OBJECT = new URL('../bpf/sklookup.bpf.o', import.meta.url);

/** linux/bpf.h, enum bpf_attach_type. */
const BPF_SK_LOOKUP = 36;
/** linux/errno.h: an errno of the kernel that should never reach user space, and does for unknown map types. */
const ENOTSUPP = 524;

const LOG_LENGTH = 1 << 20;

/** Beside the five of libbpf at each of them. */
const ATTEMPTS = 20;

/** Names in bpf/sklookup.bpf.c. */
const PROGRAM = 'weir';
const MAPS = ['settings', 'prefixes4', 'prefixes6', 'ranges', 'sources4', 'sources6', 'sockets', 'counters'];

/** Thrown when the verifier refuses the program. `log` is all that it said. */
export class VerifierError extends Error {
  readonly log: string;

  constructor(errno: number, log: string) {
    super(`the verifier refused the program with ${errnoName(errno)}`);
    this.name = 'VerifierError';
    this.log = log;
  }
}

/** Opens the calling thread's network namespace; the caller closes the descriptor. */
function openNamespace(): number {
  const path = '/proc/thread-self/ns/net';
  return checked(libc.open(path, O_RDONLY | O_CLOEXEC, 0), `open(${path})`, 'Mount /proc.');
}

const PRIVILEGE = 'Run Weir as root, or give it CAP_BPF and CAP_NET_ADMIN; a user namespace is not enough.';

function refused(errno: number, what: string, log: string): WeirError {
  if (errno === EPERM) {
    return new NotPermittedError({ problem: `The kernel did not allow to ${what} (EPERM).`, remedy: PRIVILEGE });
  }
  const lines = essentialLines(log);
  if (lines.length > 0 && (errno === EACCES || errno === EINVAL)) {
    return new UnsupportedError({
      problem: `The kernel's verifier refused the sk_lookup program: ${lines.join(' | ')}.`,
      remedy: 'Use another interceptor, and report the kernel version with these lines.',
      cause: new VerifierError(errno, log),
    });
  }
  if (errno === EINVAL || errno === ENOTSUPP) {
    return new UnsupportedError({
      problem: `The kernel has no sk_lookup programs (${what}: ${errnoName(errno)}).`,
      remedy: 'Use Linux 5.9 or newer with CONFIG_BPF_SYSCALL, or another interceptor.',
      cause: new SystemCallError('bpf()', errno, 'Use another interceptor.'),
    });
  }
  return new HostChangeError({
    problem: `The kernel could not ${what}: ${errnoName(errno)}.`,
    remedy: 'Free memory or raise its limits (ulimit -l, memory.max of the control group) and start again.',
    cause: new SystemCallError('bpf()', errno, 'Start again.'),
  });
}

interface Loaded {
  readonly object: BpfObject;
  readonly program: number;
  readonly maps: ReadonlyMap<string, number>;
}

/** `undefined` when a signal came in between: the verifier then gives up, and it can be tried again. */
function tryLoading(f: LibBpf, file: URL, bytes: Uint8Array, log: Buffer): Loaded | undefined {
  const object = f.bpf_object__open_mem(bytes, bytes.length, null);
  if (!object) {
    throw new UnsupportedError({
      problem: `libbpf ${f.libbpf_version_string()} cannot read ${file.pathname}.`,
      remedy: 'Install @weir/ebpf-sklookup again.',
    });
  }
  try {
    const program = f.bpf_object__find_program_by_name(object, PROGRAM);
    if (!program) throw new TypeError(`${file.pathname} has no program ${PROGRAM}.`);
    f.bpf_program__set_log_buf(program, log, log.length);
    const result = f.bpf_object__load(object);
    if (-result === EAGAIN) {
      f.bpf_object__close(object);
      return undefined;
    }
    if (result < 0) throw refused(-result, 'load the sk_lookup program', log.toString('latin1'));
    const maps = MAPS.map((name) => {
      const map = f.bpf_object__find_map_by_name(object, name);
      if (!map) throw new TypeError(`${file.pathname} has no map ${name}.`);
      return [name, f.bpf_map__fd(map)] as const;
    });
    return { object, program: f.bpf_program__fd(program), maps: new Map(maps) };
  } catch (error) {
    f.bpf_object__close(object);
    throw error;
  }
}

function loadProgram(f: LibBpf, file: URL): Loaded {
  const bytes = readFileSync(file);
  const log = Buffer.alloc(LOG_LENGTH);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const loaded = tryLoading(f, file, bytes, log);
    if (loaded) return loaded;
  }
  throw new HostChangeError({
    problem: `Signals interrupted the kernel's look at the sk_lookup program ${ATTEMPTS} times.`,
    remedy: 'Start again; do not run Weir under a profiler that works by signals.',
  });
}

/** A loaded program. Nothing is steered before `attach`. Synchronous; loading takes about 5 ms. */
export class SkLookup {
  readonly #f: LibBpf;
  readonly #loaded: Loaded;
  #link = -1;
  #closed = false;

  /**
   * @param file the compiled program.
   * @throws UnsupportedError when the kernel or libbpf cannot; NotPermittedError; HostChangeError when memory is short.
   */
  constructor(file: URL = OBJECT) {
    this.#f = libbpf();
    this.#loaded = loadProgram(this.#f, file);
  }

  /** The program's descriptor. */
  get fd(): number {
    return this.#loaded.program;
  }

  /** The descriptor of a map. @throws TypeError for a name that the program does not have. */
  map(name: string): number {
    const fd = this.#loaded.maps.get(name);
    if (fd === undefined) throw new TypeError(`There is no map ${name}.`);
    return fd;
  }

  /** Links it to the calling thread's network namespace, beside the programs that are there. */
  attach(): void {
    if (this.#link >= 0) return;
    const namespace = openNamespace();
    try {
      const link = this.#f.bpf_link_create(this.fd, namespace, BPF_SK_LOOKUP, null);
      if (link < 0) throw refused(-link, 'attach the sk_lookup program to the network namespace', '');
      this.#link = link;
    } finally {
      libc.close(namespace);
    }
  }

  detach(): void {
    if (this.#link >= 0) libc.close(this.#link);
    this.#link = -1;
  }

  /** False also when somebody detached the link that we hold. */
  get attached(): boolean {
    if (this.#link < 0) return false;
    // struct bpf_link_info: type u32 · id u32 · prog_id u32 · padding · netns_ino u32 @16, 0 when it is detached.
    const info = Buffer.alloc(32);
    if (this.#f.bpf_obj_get_info_by_fd(this.#link, info, Uint32Array.of(info.length)) < 0) return false;
    return info.readUInt32LE(16) !== 0;
  }

  /** Detaches it and frees the program and its maps. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.detach();
    this.#f.bpf_object__close(this.#loaded.object);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Whether this network namespace takes sk_lookup programs at all. Changes nothing. */
export function namespaceTakesPrograms(): boolean {
  const f = libbpf();
  const namespace = openNamespace();
  try {
    const ids = new Uint32Array(64);
    return f.bpf_prog_query(namespace, BPF_SK_LOOKUP, 0, Uint32Array.of(0), ids, Uint32Array.of(ids.length)) >= 0;
  } finally {
    libc.close(namespace);
  }
}
