/**
 * libbpf.so.1 in this process: https://docs.kernel.org/bpf/libbpf/. Functions give what C gives: null or a negative errno
 * when they failed. Debian installs it with iproute2.
 */
import { UnsupportedError } from '@weir/core';
import { openLibrary } from '@weir/core/sys';

/** A pointer that only the library looks into. */
export type BpfObject = object & { readonly kind?: 'object' };
export type BpfProgram = object & { readonly kind?: 'program' };
export type BpfMap = object & { readonly kind?: 'map' };

export interface LibBpf {
  readonly bpf_object__open_mem: (bytes: Uint8Array, length: number, options: null) => BpfObject | null;
  readonly bpf_object__load: (object: BpfObject) => number;
  readonly bpf_object__close: (object: BpfObject) => void;
  readonly bpf_object__find_program_by_name: (object: BpfObject, name: string) => BpfProgram | null;
  readonly bpf_object__find_map_by_name: (object: BpfObject, name: string) => BpfMap | null;
  /** The buffer must stay referenced until the object has been loaded. */
  readonly bpf_program__set_log_buf: (program: BpfProgram, buffer: Uint8Array, length: number) => number;
  readonly bpf_program__fd: (program: BpfProgram) => number;
  readonly bpf_map__fd: (map: BpfMap) => number;
  readonly bpf_link_create: (program: number, target: number, type: number, options: null) => number;
  readonly bpf_map_update_elem: (map: number, key: Uint8Array, value: Uint8Array, flags: number) => number;
  readonly bpf_map_lookup_elem: (map: number, key: Uint8Array, value: Uint8Array) => number;
  readonly bpf_map_delete_elem: (map: number, key: Uint8Array) => number;
  readonly bpf_map_get_next_key: (map: number, key: Uint8Array | null, next: Uint8Array) => number;
  readonly bpf_obj_get_info_by_fd: (fd: number, info: Uint8Array, length: Uint32Array) => number;
  readonly bpf_prog_query: (
    target: number,
    type: number,
    flags: number,
    attachFlags: Uint32Array,
    ids: Uint32Array,
    count: Uint32Array,
  ) => number;
  readonly bpf_prog_test_run_opts: (program: number, options: Uint8Array) => number;
  readonly libbpf_version_string: () => string;
}

let loaded: LibBpf | undefined;

/** For tests: `WEIR_SKLOOKUP=off` hides the mechanism as if the library were not there. */
function hidden(): boolean {
  return process.env['WEIR_SKLOOKUP'] === 'off';
}

/** @throws UnsupportedError when the library is not installed. */
export function libbpf(): LibBpf {
  if (hidden()) {
    throw new UnsupportedError({
      problem: 'The interceptor ebpf-sklookup is switched off by WEIR_SKLOOKUP=off.',
      remedy: 'Unset WEIR_SKLOOKUP.',
    });
  }
  if (loaded) return loaded;
  const library = openLibrary(['libbpf.so.1'], 'libbpf1');
  const func = <F extends (...args: never[]) => unknown>(prototype: string): F => library.func<F>(prototype);
  const setPrint: (print: null) => unknown = func('void *libbpf_set_print(void *print)');
  // What went wrong is told by our errors; the library would write it to standard error.
  setPrint(null);
  loaded = {
    bpf_object__open_mem: func('void *bpf_object__open_mem(const void *bytes, size_t length, const void *options)'),
    bpf_object__load: func('int bpf_object__load(void *object)'),
    bpf_object__close: func('void bpf_object__close(void *object)'),
    bpf_object__find_program_by_name: func(
      'void *bpf_object__find_program_by_name(const void *object, const char *name)',
    ),
    bpf_object__find_map_by_name: func('void *bpf_object__find_map_by_name(const void *object, const char *name)'),
    bpf_program__set_log_buf: func('int bpf_program__set_log_buf(void *program, void *buffer, size_t length)'),
    bpf_program__fd: func('int bpf_program__fd(const void *program)'),
    bpf_map__fd: func('int bpf_map__fd(const void *map)'),
    bpf_link_create: func('int bpf_link_create(int program, int target, int type, const void *options)'),
    bpf_map_update_elem: func('int bpf_map_update_elem(int map, const void *key, const void *value, uint64_t flags)'),
    bpf_map_lookup_elem: func('int bpf_map_lookup_elem(int map, const void *key, void *value)'),
    bpf_map_delete_elem: func('int bpf_map_delete_elem(int map, const void *key)'),
    bpf_map_get_next_key: func('int bpf_map_get_next_key(int map, const void *key, void *next)'),
    bpf_obj_get_info_by_fd: func('int bpf_obj_get_info_by_fd(int fd, void *info, void *length)'),
    bpf_prog_query: func(
      'int bpf_prog_query(int target, int type, uint32_t flags, void *attach_flags, void *ids, void *count)',
    ),
    bpf_prog_test_run_opts: func('int bpf_prog_test_run_opts(int program, void *options)'),
    libbpf_version_string: func('const char *libbpf_version_string(void)'),
  };
  return loaded;
}
