/** The only importer of commander: from arguments to a command and its exit code. Commands are loaded when they run. */
import { Argument, Command, CommanderError, Option } from 'commander';
import { VERSION } from '../version.ts';
import type { Shell } from './commands/completion.ts';
import type { CommandContext } from './context.ts';
import { reportError, wantsDebug } from './error-report.ts';
import { EXIT, exitCodeOf } from './exit-code.ts';

type Options = Record<string, unknown>;

/** Interceptors that have a command of their own: `weir nft` is `weir run --interceptor nft`. */
const INTERCEPTOR_COMMANDS: ReadonlyMap<string, string> = new Map([
  ['nft', 'nft'],
  ['tproxy', 'tproxy-iptables'],
  ['tun', 'tun'],
  ['ebpf-sklookup', 'ebpf-sklookup'],
]);

const collect = (value: string, before: readonly string[] | undefined): string[] => [...(before ?? []), value];

const CONFIG_ARGUMENT = 'the configuration; without it ./weir.yaml, then /etc/weir/weir.yaml';

/** The flags that stand above the file's settings. Their values are checked with the file, all at once. */
function withSettings(command: Command, which: 'all' | 'but-interceptor' = 'all'): Command {
  if (which === 'all') command.option('--interceptor <ids>', 'auto, one id, or several in order: nft,tun');
  return command
    .option('--require <words>', 'refuse interceptors without: transparent, udp, ipv6, forward')
    .option('--owner <name>', 'name of this instance; several run side by side')
    .option('--workers <n>', 'number of splice workers')
    .option('--worker-cpus <list>', 'processors for them: none, auto, or in their order as 0-3,8')
    .option('--resolver <reach>', "how the host's queries get here: auto, resolv-conf, none, …")
    .option('--plugin <name>', 'load a plugin; may be given more than once', collect)
    .option('--admin <path>', 'unix, off, or the path of the admin socket')
    .option('--log-level <level>', 'debug, info, warn, error or silent')
    .option('--log-format <format>', 'auto, json or pretty')
    .option('--log-flows <which>', 'off, closed or all');
}

function withInstance(command: Command): Command {
  return command
    .option('--owner <name>', 'the instance to talk to; default, or WEIR_OWNER')
    .option('--admin <path>', 'the admin socket, where the configuration sets its path')
    .option('--json', 'for programs');
}

function withRun(command: Command, which: 'all' | 'but-interceptor' = 'all'): Command {
  return withSettings(command, which).option('--json', 'the selection report as one line of JSON, when it is ready');
}

type Finish = (code: number | Promise<number>) => Promise<void>;

function addCommands(program: Command, context: CommandContext, finish: Finish): void {
  withRun(program.command('run').description('intercept until stopped').argument('[config]', CONFIG_ARGUMENT)).action(
    async (config: string | undefined, options: Options) => {
      const { run } = await import('./commands/run.ts');
      await finish(run(context, config, options));
    },
  );
  for (const [name, interceptor] of INTERCEPTOR_COMMANDS) {
    const command = program.command(name).description(`run with the interceptor ${interceptor}`);
    withRun(command.argument('[config]', CONFIG_ARGUMENT), 'but-interceptor').action(
      async (config: string | undefined, options: Options) => {
        const { run } = await import('./commands/run.ts');
        await finish(run(context, config, { ...options, interceptor }));
      },
    );
  }
  withRun(
    program
      .command('proxy')
      .description('listen for services and capture nothing; needs no privilege')
      .argument(
        '<service:port...>',
        'services of the configuration and where to listen for them; last, the configuration',
      )
      .option('--bind <address>', 'the address to listen on; default 127.0.0.1'),
    'but-interceptor',
  ).action(async (args: readonly string[], options: Options) => {
    const { proxy } = await import('./commands/proxy.ts');
    await finish(proxy(context, args, options));
  });
  withSettings(program.command('check').description('is the configuration right').argument('[config]', CONFIG_ARGUMENT))
    .option('--json', 'for programs')
    .action(async (config: string | undefined, options: Options) => {
      const { check } = await import('./commands/check.ts');
      await finish(check(context, config, options));
    });
  withSettings(
    program
      .command('plan')
      .description('the exact kernel changes that run would make')
      .argument('[config]', CONFIG_ARGUMENT),
  )
    .option('--json', 'for programs')
    .action(async (config: string | undefined, options: Options) => {
      const { plan } = await import('./commands/plan.ts');
      await finish(plan(context, config, options));
    });
  program
    .command('doctor')
    .description('what each interceptor lacks here, what is in the way, and how to mend it')
    .argument('[config]', 'what would be run; without it ./weir.yaml, /etc/weir/weir.yaml, or the defaults')
    .option('--owner <name>', 'the instance; default, or WEIR_OWNER')
    .option('--json', 'for programs')
    .action(async (config: string | undefined, options: Options) => {
      const { doctor } = await import('./commands/doctor.ts');
      await finish(doctor(context, config, options));
    });
  program
    .command('plugins')
    .description('which plugins run would load, and what each brings')
    .argument('[config]', 'without it ./weir.yaml, /etc/weir/weir.yaml, or the built-in ones alone')
    .option('--plugin <name>', 'load a plugin; may be given more than once', collect)
    .option('--json', 'for programs')
    .action(async (config: string | undefined, options: Options) => {
      const { plugins } = await import('./commands/plugins.ts');
      await finish(plugins(context, config, options));
    });
  program
    .command('test')
    .description('which service and dialer would take this flow, and why')
    .argument('<host>', 'a name or an address')
    .argument('<port>')
    .option('--config <file>', CONFIG_ARGUMENT)
    .addOption(new Option('--protocol <protocol>', 'tcp or udp').default('tcp'))
    .option('--source <address>', 'where the flow comes from')
    .option('--json', 'for programs')
    .action(async (host: string, port: string, options: Options) => {
      const { test } = await import('./commands/test.ts');
      await finish(test(context, host, port, options));
    });
  program
    .command('cleanup')
    .description('remove what a killed instance left; refuses while it lives')
    .option('--owner <name>', 'whose; default, or WEIR_OWNER')
    .option('--all', 'of all owners in this network namespace')
    .option('--json', 'for programs')
    .action(async (options: Options) => {
      const { cleanup } = await import('./commands/cleanup.ts');
      await finish(cleanup(context, options));
    });
  addInstanceCommands(program, context, finish);
  program
    .command('config')
    .description('about the configuration file')
    .command('schema')
    .description('its JSON Schema, for editors')
    .action(async () => {
      const { configSchema } = await import('./commands/config-schema.ts');
      await finish(configSchema(context));
    });
  program
    .command('completion')
    .description('a script that completes commands and flags in a shell: source <(weir completion bash)')
    .addArgument(new Argument('<shell>', 'which').choices(['bash', 'zsh', 'fish']))
    .action(async (shell: Shell) => {
      const [{ completion }, { commandTree }] = await Promise.all([
        import('./commands/completion.ts'),
        import('./command-tree.ts'),
      ]);
      await finish(completion(context, shell, commandTree(program)));
    });
  program
    .command('version')
    .description('versions and platform')
    .option('--json', 'for programs')
    .action(async (options: Options) => {
      const { version } = await import('./commands/version.ts');
      await finish(version(context, options));
    });
}

function addDnsCommands(program: Command, context: CommandContext, finish: Finish): void {
  const dns = program.command('dns').description('names: what clients are told, and who has which address');
  withInstance(dns.command('query').description('what a client is told, and by whom'))
    .argument('<name>', 'a name, or an address whose name is asked for')
    .argument('[type]', 'A, AAAA, PTR, MX, …', 'A')
    .action(async (name: string, type: string, options: Options) => {
      const { dnsQuery } = await import('./commands/dns.ts');
      await finish(dnsQuery(context, name, type, options));
    });
  withInstance(dns.command('names').description('names that have addresses'))
    .option('--limit <n>', 'at most so many (default 100)')
    .action(async (options: Options) => {
      const { dnsNames } = await import('./commands/dns.ts');
      await finish(dnsNames(context, options));
    });
}

function addInstanceCommands(program: Command, context: CommandContext, finish: Finish): void {
  addDnsCommands(program, context, finish);
  withInstance(program.command('status').description('what the running instance does')).action(
    async (options: Options) => {
      const { status } = await import('./commands/status.ts');
      await finish(status(context, options));
    },
  );
  withInstance(program.command('flows').description('living flows, with bytes and times'))
    .option('--follow', 'each flow as it ends')
    .option('--recent', 'the last ended ones instead')
    .option('--limit <n>', 'at most so many (default 100)')
    .action(async (options: Options) => {
      const { flows } = await import('./commands/flows.ts');
      await finish(flows(context, options));
    });
  withInstance(program.command('logs').description("the last lines of the running instance's log"))
    .option('--follow', 'and each line as it is written')
    .option('--limit <n>', 'at most so many of those that are there (default 100)')
    .action(async (options: Options) => {
      const { logs } = await import('./commands/logs.ts');
      await finish(logs(context, options));
    });
  withInstance(program.command('services').description('what is intercepted, and how much it carried')).action(
    async (options: Options) => {
      const { services } = await import('./commands/services.ts');
      await finish(services(context, options));
    },
  );
  withInstance(program.command('reload').description('read the configuration again')).action(
    async (options: Options) => {
      const { reload } = await import('./commands/reload.ts');
      await finish(reload(context, options));
    },
  );
  withInstance(program.command('drain').description('take no new flows, wait for the living ones')).action(
    async (options: Options) => {
      const { drain } = await import('./commands/drain.ts');
      await finish(drain(context, options));
    },
  );
}

/** Every command reports to this context and throws instead of ending the process. */
function silence(command: Command, context: CommandContext, help: string[]): void {
  command.exitOverride();
  command.configureOutput({
    writeOut: (text) => context.stdout.write(text),
    // Faults are reported in one place, with the remedy last.
    writeErr: (text) => void help.push(text),
    getOutHelpWidth: () => context.stdout.columns ?? 100,
    getErrHelpWidth: () => context.stderr.columns ?? 100,
  });
  for (const child of command.commands) silence(child, context, help);
}

/** @param help what commander wanted to write to standard error */
function reportUsage(error: CommanderError, context: CommandContext, help: readonly string[]): number {
  if (error.exitCode === 0) return EXIT.done;
  if (error.code === 'commander.help') {
    // A command that has only commands below it.
    context.stderr.write(help.join(''));
    return EXIT.usage;
  }
  const text = error.message.replace(/^error: /, '').replace(/\n\(Did you mean (.*)\?\)$/s, ' (did you mean "$1"?)');
  context.stderr.write(`weir: ${text}\nTry weir --help, or weir COMMAND --help.\n`);
  return EXIT.usage;
}

/**
 * Runs one command line.
 * @param argv the arguments alone, without node and script
 * @returns the exit code; never throws
 */
export async function runCommandLine(argv: readonly string[], context: CommandContext): Promise<number> {
  const program = new Command('weir')
    .description('Intercepts chosen network traffic transparently and carries it wherever a dialer takes it.')
    .version(VERSION, '-V, --version')
    .showSuggestionAfterError(true)
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 failure, 2 usage or configuration, 3 no interceptor could start, 4 self-test failed,\n' +
        '5 drift or leftovers, 6 runs already or does not run, 7 not permitted, 130 stopped by a second signal.',
    );
  let code: number = EXIT.done;
  addCommands(program, context, async (result) => {
    code = await result;
  });
  const help: string[] = [];
  silence(program, context, help);
  if (argv.length === 0) {
    context.stderr.write(program.helpInformation());
    return EXIT.usage;
  }
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return reportUsage(error, context, help);
    const level = argv.includes('--log-level=debug') || argv[argv.indexOf('--log-level') + 1] === 'debug';
    reportError(error, context, { debug: wantsDebug(context, level ? 'debug' : undefined) });
    return exitCodeOf(error);
  }
}
