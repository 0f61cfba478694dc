/** The kernel's nftables ruleset, by the library in this process or by the nft program: one interface for both. */
import { HostChangeError, NotPermittedError, UnsupportedError, WeirError } from '@weir/core';
import { LibNftables } from './libnftables.ts';
import { NftBinary } from './nft-binary.ts';
import { type NftCommand, type NftDocument, type NftListing, renderCommand } from './nftables-json/index.ts';

/** What one transaction came to. A failed one has changed nothing. */
export interface NftOutcome {
  readonly ok: boolean;
  readonly output: string;
  /** nft's own words. */
  readonly error: string;
}

interface Runner {
  run(text: string, dry?: boolean): NftOutcome;
  close(): void;
}

/** For tests: hides the library (`WEIR_NFT_LIBRARY=off`) or the program (`WEIR_NFT_BINARY=off`). */
function hidden(name: 'WEIR_NFT_LIBRARY' | 'WEIR_NFT_BINARY'): boolean {
  return process.env[name] === 'off';
}

function missing(cause: unknown): UnsupportedError {
  return new UnsupportedError({
    problem: 'Neither libnftables.so.1 nor the program nft is on this machine.',
    remedy: 'Install the Debian package nftables (apt-get install nftables).',
    cause,
  });
}

function openRunner(): { readonly kind: 'library' | 'binary'; readonly runner: Runner } {
  let cause: unknown;
  if (!hidden('WEIR_NFT_LIBRARY')) {
    try {
      return { kind: 'library', runner: new LibNftables() };
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      cause = error;
    }
  }
  if (hidden('WEIR_NFT_BINARY')) throw missing(cause);
  try {
    return { kind: 'binary', runner: new NftBinary() };
  } catch (error) {
    throw missing(error);
  }
}

/** The line of nft's error text that says what is wrong; it is followed by the whole command, which nobody can read. */
function essence(error: string): string {
  const line = error.split('\n').find((text) => text.includes('Error:')) ?? error.split('\n')[0] ?? '';
  return line.replace(/^.*?Error:\s*/, '').slice(0, 300) || 'nft said nothing';
}

/** Turns nft's words into the error that callers can act on. */
function failure(what: string, { error }: NftOutcome): WeirError {
  const problem = `nft could not ${what}: ${essence(error)}.`;
  if (/Operation not permitted|Permission denied/.test(error)) {
    return new NotPermittedError({ problem, remedy: 'Run Weir as root or give it CAP_NET_ADMIN.' });
  }
  if (/Operation not supported|No such file or directory|Protocol not supported/.test(error)) {
    return new UnsupportedError({
      problem,
      remedy: 'Load the missing nftables modules (`weir doctor` names them), or use another interceptor.',
    });
  }
  return new HostChangeError({ problem, remedy: 'Look at `nft list ruleset`, then run `weir cleanup`.' });
}

/** JSON, but for what nft's JSON cannot say. */
function documentOf(commands: readonly NftCommand[]): string {
  const text = JSON.stringify({ nftables: commands } satisfies NftDocument);
  return text.includes('{"socket":{') ? `${commands.map(renderCommand).join('\n')}\n` : text;
}

export class Ruleset {
  readonly kind: 'library' | 'binary';
  readonly #runner: Runner;

  /** Belongs to the calling thread's network namespace. @throws UnsupportedError when nft is not installed at all. */
  constructor() {
    const { kind, runner } = openRunner();
    this.kind = kind;
    this.#runner = runner;
  }

  /** What nft says of native commands, without judging it. */
  try(text: string): NftOutcome {
    return this.#runner.run(text);
  }

  /** Whether the kernel would take these commands. Nothing changes. */
  check(commands: readonly NftCommand[]): NftOutcome {
    return this.#runner.run(documentOf(commands), true);
  }

  /**
   * Applies the commands in one transaction: all or none. `what` ends the sentence "nft could not …".
   * @throws NotPermittedError; UnsupportedError when the kernel lacks something; HostChangeError for anything else.
   */
  apply(commands: readonly NftCommand[], what: string): void {
    if (commands.length === 0) return;
    const outcome = this.#runner.run(documentOf(commands));
    if (!outcome.ok) throw failure(what, outcome);
  }

  /** One table with everything in it, or `undefined` when there is none of this name. */
  list(table: string): NftListing | undefined {
    const outcome = this.#runner.run(`list table inet ${table}`);
    if (outcome.ok) return JSON.parse(outcome.output) as NftListing;
    if (/No such file or directory/.test(outcome.error)) return undefined;
    throw failure(`list table inet ${table}`, outcome);
  }

  /** Ends the library's context: the kernel removes a table that it owns. Idempotent. */
  close(): void {
    this.#runner.close();
  }
}
