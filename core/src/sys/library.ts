/**
 * Shared libraries in this process. The only importer of koffi: everything else sees typed functions.
 *
 * A synchronous call costs about 230 ns, the system call included. Buffers, typed arrays and views of shared memory go
 * in by their real address, without a copy. A buffer whose *address* stands in another struct (iovec, msghdr) must stay
 * referenced in JavaScript for as long as the call may look at it.
 */
import koffi from 'koffi';
import { UnsupportedError } from '../api/errors.ts';

/** A loaded shared library. `func` takes a C prototype in koffi's notation; there is no `ssize_t`: use `int64_t`. */
export interface Library {
  readonly path: string;
  func<F extends (...args: never[]) => unknown>(prototype: string): F;
}

/**
 * Loads the first of `names` that the dynamic linker finds.
 * @throws UnsupportedError naming `debianPackage` when none is there.
 */
export function openLibrary(names: readonly string[], debianPackage: string): Library {
  let last: unknown;
  for (const name of names) {
    try {
      const lib = koffi.load(name);
      return { path: name, func: <F>(prototype: string): F => lib.func(prototype) as F };
    } catch (error) {
      last = error;
    }
  }
  throw new UnsupportedError({
    problem: `The shared library ${names.join(' or ')} could not be loaded.`,
    remedy: `Install the Debian package ${debianPackage} (apt-get install ${debianPackage}).`,
    cause: last,
  });
}

/** errno of the last call of this thread. Only meaningful directly after a call that failed. */
export function errno(): number {
  return koffi.errno();
}

/** Where the memory behind a view lies, for structs that hold pointers. Keep `view` referenced. */
export function addressOf(view: ArrayBufferView): bigint {
  return BigInt(koffi.address(view));
}

/** Declares an opaque C type under `name` for use in prototypes as `name *`. */
export function opaque(name: string): void {
  koffi.opaque(name);
}
