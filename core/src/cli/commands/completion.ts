/** `weir completion SHELL`: a script that completes commands, flags and words; made from the commands themselves. */
import type { CommandContext } from '../context.ts';
import { EXIT } from '../exit-code.ts';

/** A flag, with the words it takes where they are known. */
export interface CompletedFlag {
  readonly name: string;
  readonly description: string;
  readonly takesValue: boolean;
  readonly words: readonly string[];
}

/** A command, or a group of commands. */
export interface CompletedCommand {
  /** The words that lead to it; empty for `weir` itself. */
  readonly path: readonly string[];
  readonly flags: readonly CompletedFlag[];
  /** The names of commands below it. */
  readonly below: ReadonlyArray<{ readonly name: string; readonly description: string }>;
  /** Words that it takes besides flags. */
  readonly words: readonly string[];
  /** Whether it takes a file. */
  readonly takesFile: boolean;
}

/** For between single quotes in any of the shells. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** `weir dns query` as a pattern of `case`. */
function keyOf(path: readonly string[]): string {
  return ['weir', ...path].join(' ');
}

/**
 * What bash and zsh share: arrays are all that differs, and zsh reads bash's completions. The path is what was written of
 * command names so far; words that are none leave it as it is.
 */
function bash(commands: readonly CompletedCommand[]): string {
  const steps = commands
    .filter(({ path }) => path.length > 0)
    .map(({ path }) => `      ${quoted(keyOf(path))}) path=${quoted(keyOf(path))} ;;`);
  const cases = commands.map((command) => {
    const valued = command.flags.filter(({ takesValue }) => takesValue);
    const values = valued.map(({ name, words }) => {
      const from = words.length > 0 ? `-W ${quoted(words.join(' '))}` : '-f';
      return `        ${name}) COMPREPLY=($(compgen ${from} -- "$word")); return ;;`;
    });
    const words = [
      ...command.below.map(({ name }) => name),
      ...command.words,
      ...command.flags.map(({ name }) => name),
    ];
    return [
      `    ${quoted(keyOf(command.path))})`,
      ...(values.length > 0 ? ['      case "$before" in', ...values, '      esac'] : []),
      `      words=${quoted(words.join(' '))}; files=${command.takesFile ? 'yes' : 'no'} ;;`,
    ].join('\n');
  });
  return `# bash completion of weir. Save as /etc/bash_completion.d/weir, or: source <(weir completion bash)
_weir() {
  local path=weir word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" words='' files=no index
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "$path \${COMP_WORDS[index]}" in
${steps.join('\n')}
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  if [ "$files" = yes ] && [ "\${word#-}" = "$word" ]; then
    COMPREPLY+=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _weir weir
`;
}

function zsh(commands: readonly CompletedCommand[]): string {
  return `#compdef weir
# zsh completion of weir. In ~/.zshrc, after compinit: source <(weir completion zsh)
autoload -U +X bashcompinit && bashcompinit
${bash(commands).split('\n').slice(1).join('\n')}`;
}

function fish(commands: readonly CompletedCommand[]): string {
  const lines = commands.flatMap(({ path, below, flags, words, takesFile }) => {
    const others = below.map(({ name }) => name).join(' ');
    const here = path.length === 0 ? [] : [`__fish_seen_subcommand_from ${path.at(-1)}`];
    const parents = path.slice(0, -1).map((name) => `__fish_seen_subcommand_from ${name}`);
    const open = others === '' ? [] : [`not __fish_seen_subcommand_from ${others}`];
    const condition = [...parents, ...here, ...open].join('; and ');
    const when = condition === '' ? '' : ` -n ${quoted(condition)}`;
    return [
      ...below.map(({ name, description }) => `complete -c weir -f${when} -a ${name} -d ${quoted(description)}`),
      ...words.map((word) => `complete -c weir -f${when} -a ${word}`),
      ...flags.map((flag) => {
        const { name, description, takesValue } = flag;
        const value = !takesValue ? '' : flag.words.length > 0 ? ` -x -a ${quoted(flag.words.join(' '))}` : ' -r';
        return `complete -c weir${when} -l ${name.replace(/^--/, '')}${value} -d ${quoted(description)}`;
      }),
      ...(takesFile ? [`complete -c weir${when} -F`] : []),
    ];
  });
  return `# fish completion of weir. Save as ~/.config/fish/completions/weir.fish
complete -c weir -f
${lines.join('\n')}
`;
}

const SCRIPTS = { bash, zsh, fish } as const;

export type Shell = keyof typeof SCRIPTS;

export function completion(context: CommandContext, shell: Shell, commands: readonly CompletedCommand[]): number {
  context.stdout.write(SCRIPTS[shell](commands));
  return EXIT.done;
}
