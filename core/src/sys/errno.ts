/** Error numbers of Linux (asm-generic/errno.h) and what they are called. */
import { constants } from 'node:os';
import { NotPermittedError, WeirError } from '../api/errors.ts';
import { errno } from './library.ts';

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENFILE = 23;
export const EMFILE = 24;
export const EPIPE = 32;
export const EMSGSIZE = 90;
export const EOPNOTSUPP = 95;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const ENOBUFS = 105;
export const ENOTCONN = 107;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;
export const EINPROGRESS = 115;

const names = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));

/** `ECONNREFUSED` for 111; `errno 4711` for a number that has no name. */
export function errnoName(number: number): string {
  return names.get(number) ?? `errno ${number}`;
}

/** Thrown when a system call failed and nobody expected it to. `errno` is the kernel's number. */
export class SystemCallError extends WeirError {
  readonly errno: number;
  readonly call: string;

  constructor(call: string, number: number, remedy: string) {
    super('WEIR_SYSTEM_CALL', { problem: `${call} failed with ${errnoName(number)}.`, remedy });
    this.errno = number;
    this.call = call;
  }
}

/**
 * Passes a result that is not negative on; otherwise throws what errno says.
 * @throws NotPermittedError for EPERM and EACCES; SystemCallError for anything else. `remedy` ends the text.
 */
export function checked(result: number, call: string, remedy: string): number {
  if (result >= 0) return result;
  const number = errno();
  if (number === EPERM || number === EACCES) {
    throw new NotPermittedError({ problem: `${call} was refused with ${errnoName(number)}.`, remedy });
  }
  throw new SystemCallError(call, number, remedy);
}
