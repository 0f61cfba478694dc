/** The commands as data, from commander's own: what a shell's completion is made of. */
import { LOG_LEVELS } from '../observe/logger.ts';
import type { CompletedCommand } from './commands/completion.ts';

/** What is asked of commander's Command. */
interface Described {
  name(): string;
  description(): string;
  readonly commands: readonly Described[];
  readonly options: ReadonlyArray<{
    readonly long?: string | undefined;
    readonly description: string;
    readonly required: boolean;
    readonly optional: boolean;
  }>;
  readonly registeredArguments: ReadonlyArray<{ name(): string; readonly argChoices?: readonly string[] | undefined }>;
}

/** The words that flags take. They are checked with the configuration; this is only what is offered. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  '--worker-cpus': ['none', 'auto'],
  '--interceptor': ['auto', 'nft', 'tproxy-iptables', 'ebpf-sklookup', 'tun', 'proxy'],
  '--require': ['transparent', 'udp', 'ipv6', 'forward'],
  '--resolver': ['auto', 'capture', 'systemd-resolved', 'resolv-conf', 'none'],
  '--protocol': ['tcp', 'udp'],
  '--log-level': LOG_LEVELS,
  '--log-format': ['auto', 'json', 'pretty'],
  '--log-flows': ['off', 'closed', 'all'],
};

/** Arguments that are files, or may be. */
const FILES: ReadonlySet<string> = new Set(['config', 'service:port']);

/** `command` and all below it. */
export function commandTree(command: Described, path: readonly string[] = []): readonly CompletedCommand[] {
  const here: CompletedCommand = {
    path,
    flags: command.options.map(({ long, description, required, optional }) => ({
      name: long ?? '',
      description,
      takesValue: required || optional,
      words: WORDS[long ?? ''] ?? [],
    })),
    below: command.commands.map((each) => ({ name: each.name(), description: each.description() })),
    words: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
    takesFile: command.registeredArguments.some((argument) => FILES.has(argument.name())),
  };
  return [here, ...command.commands.flatMap((each) => commandTree(each, [...path, each.name()]))];
}
