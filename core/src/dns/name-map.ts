/**
 * Assigned addresses, written down before they are answered, so that no crash and no restart gives a name another one.
 * A text file that is only appended to: one line per assignment or release, each with a checksum, so that what a kill or
 * a full disk has torn is told from what is whole. It is written anew, beside and then in place, when it is opened and
 * when most of its lines are history.
 *
 *   weir-names 1 <fingerprint of ranges and secret>
 *   + <name> <IPv4 or -> <IPv6 or -> <c: configured, w: by a pattern> <former addresses, comma-separated, or -> <crc32>
 *   - <name> <crc32>
 *
 * With other ranges or another secret no address of it holds any more; it begins anew then.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { WeirError } from '../api/errors.ts';
import type { Prefix } from '../api/flow.ts';
import { formatPrefix } from '../capture/address.ts';
import { LOCK_EX, LOCK_NB } from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import type { Assignment } from './address-pool.ts';

/** Bytes of a map that are read at most: 4 million names with long names. */
const MAX_BYTES = 2 ** 30;
/** Lines of history beside which a file is not written anew while it is in use. */
const TOLERATED_HISTORY = 10_000;
/** Milliseconds after which a map that outlives the boot is flushed to the disk. */
const FLUSH_DELAY = 100;

export interface MappedName extends Assignment {
  readonly configured: boolean;
}

export interface NameMapOptions {
  readonly path: string;
  readonly ranges: readonly Prefix[];
  readonly secret: string;
  /** On a disk: lines are flushed to it soon after they are written. */
  readonly durable: boolean;
  /** Told once for each time that writing begins to fail. */
  readonly onError: (error: unknown) => void;
}

function fingerprintOf({ ranges, secret }: Pick<NameMapOptions, 'ranges' | 'secret'>): string {
  const texts = ranges.map(formatPrefix).toSorted();
  return createHash('sha256')
    .update(JSON.stringify([texts, secret]))
    .digest('hex')
    .slice(0, 16);
}

function line(text: string): string {
  return `${text} ${crc32(text).toString(16)}\n`;
}

function assignmentLine({ name, ipv4, ipv6, former, configured }: MappedName): string {
  return line(`+ ${name} ${ipv4 ?? '-'} ${ipv6 ?? '-'} ${configured ? 'c' : 'w'} ${former?.join(',') || '-'}`);
}

/** What a line says; undefined for one that is torn or of another kind. */
function parseLine(text: string): MappedName | { readonly released: string } | undefined {
  const end = text.lastIndexOf(' ');
  const body = text.slice(0, Math.max(end, 0));
  if (end < 0 || crc32(body).toString(16) !== text.slice(end + 1)) return undefined;
  const [op, name = '', ipv4, ipv6, kind, former] = body.split(' ');
  if (op === '-' && name !== '') return { released: name };
  if (op !== '+' || name === '' || former === undefined) return undefined;
  return {
    name,
    ...(ipv4 === '-' || ipv4 === undefined ? {} : { ipv4 }),
    ...(ipv6 === '-' || ipv6 === undefined ? {} : { ipv6 }),
    ...(former === '-' ? {} : { former: former.split(',') }),
    configured: kind === 'c',
  };
}

/** The names of a map's text, in the order in which they got their addresses; undefined for a map of other ranges. */
function parseMap(text: string, fingerprint: string): ReadonlyMap<string, MappedName> | undefined {
  const lines = text.split('\n');
  if (lines[0] !== `weir-names 1 ${fingerprint}`) return undefined;
  const names = new Map<string, MappedName>();
  for (const one of lines.slice(1)) {
    const parsed = parseLine(one);
    if (parsed === undefined) continue;
    if ('released' in parsed) names.delete(parsed.released);
    else names.set(parsed.name, parsed);
  }
  return names;
}

function failure(path: string, problem: string, cause?: unknown): WeirError {
  return new WeirError('WEIR_NAME_MAP', {
    problem: `The map of assigned names ${path} ${problem}.`,
    remedy: 'Make its directory writable for Weir alone, or set resolver.map to another path, to state or to off.',
    ...(cause === undefined ? {} : { cause }),
  });
}

export class NameMap {
  /** What the file said when it was opened, oldest first. */
  readonly restored: readonly MappedName[];
  /** True when the file was of other ranges or another secret, so that nothing of it holds. */
  readonly begunAnew: boolean;
  readonly #options: NameMapOptions;
  readonly #header: string;
  readonly #lock: number;
  #fd: number;
  #lines = 0;
  #torn = false;
  #failing = false;
  /** Something could not be written, so that the file says less than is so. */
  #incomplete = false;
  #flush: NodeJS.Timeout | undefined;

  /**
   * Opens or begins a map. The caller closes it.
   * @throws WeirError WEIR_NAME_MAP when it cannot be read or written, or another process has it open.
   */
  constructor(options: NameMapOptions) {
    this.#options = options;
    const { path } = options;
    const fingerprint = fingerprintOf(options);
    this.#header = `weir-names 1 ${fingerprint}\n`;
    this.#lock = -1;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      this.#lock = openSync(`${path}.lock`, 'a', 0o600);
    } catch (error) {
      throw failure(path, 'cannot be opened', error);
    }
    try {
      if (libc.flock(this.#lock, LOCK_EX | LOCK_NB) < 0) throw failure(path, 'is in use by another process');
      const text = readIfThere(path);
      const known = text === undefined ? undefined : parseMap(text, fingerprint);
      this.begunAnew = text !== undefined && known === undefined;
      this.restored = [...(known ?? new Map<string, MappedName>()).values()];
      this.#fd = this.#writeAnew(this.restored);
    } catch (error) {
      closeSync(this.#lock);
      throw error instanceof WeirError ? error : failure(path, 'cannot be read and written', error);
    }
  }

  /** Writes an assignment down; it is there when this returns, unless `onError` is told. */
  assigned(mapped: MappedName): void {
    this.#append(assignmentLine(mapped));
  }

  released(name: string): void {
    this.#append(line(`- ${name}`));
  }

  /** Whether it is worth writing anew: most of the file is history, or some of it is missing. */
  isMostlyHistory(names: number): boolean {
    return this.#incomplete || this.#lines > 2 * names + TOLERATED_HISTORY;
  }

  /** Replaces the file by one that holds these names only. */
  compact(names: readonly MappedName[]): void {
    try {
      const fd = this.#writeAnew(names);
      closeSync(this.#fd);
      this.#fd = fd;
      this.#failing = false;
      this.#torn = false;
      this.#incomplete = false;
    } catch (error) {
      this.#failed(error);
    }
  }

  close(): void {
    clearTimeout(this.#flush);
    // A flush that is under way finds its descriptor closed, which is no news.
    this.#failing = true;
    if (this.#options.durable) fsyncSync(this.#fd);
    closeSync(this.#fd);
    closeSync(this.#lock);
  }

  #writeAnew(names: readonly MappedName[]): number {
    const { path } = this.#options;
    const temporary = `${path}.new`;
    const fd = openSync(temporary, 'w', 0o600);
    try {
      const content = Buffer.from(this.#header + names.map(assignmentLine).join(''), 'latin1');
      for (let done = 0; done < content.length;) done += writeSync(fd, content, done);
      fsyncSync(fd);
      renameSync(temporary, path);
      const directory = openSync(dirname(path), 'r');
      fsyncSync(directory);
      closeSync(directory);
    } catch (error) {
      closeSync(fd);
      rmSync(temporary, { force: true });
      throw error;
    }
    this.#lines = names.length;
    return fd;
  }

  #append(text: string): void {
    try {
      // A line that was cut short must not take the next one with it.
      const bytes = Buffer.from(this.#torn ? `\n${text}` : text, 'latin1');
      const written = writeSync(this.#fd, bytes);
      this.#torn = written < bytes.length;
      if (this.#torn) throw new Error(`only ${written} of ${bytes.length} bytes were written`);
      this.#failing = false;
      this.#lines++;
    } catch (error) {
      this.#torn = true;
      this.#failed(error);
      return;
    }
    if (!this.#options.durable || this.#flush !== undefined) return;
    this.#flush = setTimeout(() => {
      this.#flush = undefined;
      fdatasync(this.#fd, (error) => error && this.#failed(error));
    }, FLUSH_DELAY);
    this.#flush.unref();
  }

  #failed(error: unknown): void {
    if (!this.#failing) this.#options.onError(error);
    this.#failing = true;
    this.#incomplete = true;
  }
}

function readIfThere(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    if (fstatSync(fd).size > MAX_BYTES) throw failure(path, 'is larger than 1 GiB');
    return readFileSync(fd, 'latin1');
  } finally {
    closeSync(fd);
  }
}
