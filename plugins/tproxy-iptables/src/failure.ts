/** What the words of an iptables program mean for whoever asked for the change. */
import { HostChangeError, NotPermittedError, UnsupportedError, type WeirError } from '@weir/core';
import { INSTALL, type Outcome } from './programs.ts';

/** The line that says what is wrong; hints and usage follow it. */
function essence(error: string): string {
  const lines = error.split('\n').filter((line) => !/^#|^Try `|^\s*$/.test(line));
  const telling = lines.find((line) => !/Error occurred at line|line \d+ failed\.?$/.test(line)) ?? lines[0];
  return (telling ?? 'it said nothing').replace(/\.$/, '').slice(0, 300);
}

/** The line of the input that the program stumbled over, if it says which. */
export function refusedLine(input: string, error: string): string | undefined {
  const found = /line:? (\d+)/.exec(error);
  const line = found && input.split('\n')[Number(found[1]) - 1];
  return line && line !== 'COMMIT' ? line.slice(0, 200) : undefined;
}

const MISSING =
  /No such file or directory|No chain\/target\/match|not supported|[Mm]issing kernel module|Couldn't load|Table does not exist|do you need to insmod|Protocol not (?:available|supported)/;

/** `what` ends the sentence "iptables could not …". */
export function failureOf(command: string, what: string, outcome: Outcome, input = ''): WeirError {
  const { error } = outcome;
  const line = refusedLine(input, error);
  const problem = `${command} could not ${what}: ${essence(error)}${line === undefined ? '' : ` (at "${line}")`}.`;
  if (/incompatible, use 'nft' tool/.test(error)) {
    return new UnsupportedError({
      problem,
      remedy: `Move the rules that somebody made with nft in the tables of iptables to a table of their own, or use another interceptor.`,
    });
  }
  if (/ENOENT/.test(error)) return new UnsupportedError({ problem, remedy: INSTALL });
  if (/Permission denied|Operation not permitted|must be root/.test(error)) {
    return new NotPermittedError({ problem, remedy: 'Run Weir as root or give it CAP_NET_ADMIN.' });
  }
  if (/holding the xtables lock/.test(error)) {
    return new HostChangeError({
      problem,
      remedy: 'Find out who holds the lock (fuser /run/xtables.lock), and try again.',
    });
  }
  if (MISSING.test(error)) {
    return new UnsupportedError({
      problem,
      remedy: 'Load the missing modules (`weir doctor` names them), or use another interceptor.',
    });
  }
  return new HostChangeError({ problem, remedy: `Look at \`${command}-save\`, then run \`weir cleanup\`.` });
}
