import {
  defineInterceptor,
  formatPrefix,
  hostFacts,
  numberToAddress,
  steeredBoxes,
  steeredPrefixes,
  tproxyPoints,
  type Box,
  type CleanUpContext,
  type Drift,
  type Family,
  type HostFacts,
  type HostNumbers,
  type Interceptor,
  type InterceptorContext,
  type Plan,
  type PlanInput,
} from '@weir/core';
import { execFileSync } from 'node:child_process';
import { mapping } from './schema.ts';

const run = (program: string, args: readonly string[], input = ''): string =>
  execFileSync(program, args, { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'pipe'] });

function quietly(program: string, ...args: readonly string[]): boolean {
  try {
    run(program, args);
    return true;
  } catch {
    return false;
  }
}

const PROGRAMS = { nft: '--version', ip: '-V' } as const;
const FAMILIES: readonly Family[] = [4, 6];
const tcpPoints = (facts: Pick<HostFacts, 'ipv6'>) => tproxyPoints(facts).filter(({ network }) => network.protocol === 'tcp');
const tableOf = (owner: string): string => `tally_${owner}`;
const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;
const familiesOf = ({ points }: PlanInput): readonly Family[] => FAMILIES.filter((family) => points.some(({ network }) => network.family === family));

/** What one box of the steered part wants, as an nft expression. Boxes are disjoint: their order means nothing. */
function match({ firstAddress, lastAddress, firstPort, lastPort, sources }: Box, family: Family): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  const between = (first: bigint, last: bigint): string =>
    first === last ? numberToAddress(family, first) : `${numberToAddress(family, first)}-${numberToAddress(family, last)}`;
  return [
    ...(sources ? [`${ip} saddr ${between(...sources)}`] : []),
    `${ip} daddr ${between(firstAddress, lastAddress)}`,
    firstPort === 0 && lastPort === 65535 ? 'meta l4proto tcp' : `tcp dport ${firstPort === lastPort ? firstPort : `${firstPort}-${lastPort}`}`,
  ].join(' ');
}

/** The whole table as `nft -f` takes it. Living flows are known by their connection's mark, so that they outlive a change. */
function ruleset(input: PlanInput, isDraining = false): string {
  const { owner, set, points, numbers } = input;
  const capture = hex(numbers.captureMark);
  const isOurs = `mark & ${hex(numbers.mask)} == ${capture}`;
  const mark = (what: string): string => `${what} mark set ${what} mark & ${hex(~numbers.mask)} | ${capture}`;
  const steer = familiesOf(input).flatMap((family) =>
    isDraining ? [] : steeredBoxes(set, family).filter(({ protocol }) => protocol === 'tcp').map((box) => `${match(box, family)} ${mark('ct')} ${mark('meta')}`),
  );
  const deliver = points.map(
    ({ network, port }) =>
      `meta nfproto ipv${network.family} meta ${isOurs} meta l4proto tcp tproxy ${network.family === 4 ? 'ip to 127.0.0.1' : 'ip6 to [::1]'}:${port} accept`,
  );
  return `add table inet ${tableOf(owner)}
delete table inet ${tableOf(owner)}
table inet ${tableOf(owner)} {
  chain out {
    type route hook output priority mangle;
    meta mark & ${hex(numbers.bypassMark)} == ${hex(numbers.bypassMark)} return
    ct direction reply return
    ct ${isOurs} ${mark('meta')} return
    ct state != new return
    ${steer.join('\n    ')}
  }
  chain pre {
    type filter hook prerouting priority mangle;
    ${deliver.join('\n    ')}
  }
}
`;
}

interface Change {
  readonly family: Family;
  readonly words: string;
}

/** Marked packets are local; that never changes. */
const delivery = (input: PlanInput): readonly Change[] =>
  familiesOf(input).flatMap((family) => {
    const { table, preference, preferenceBehindMain, captureMark, mask, protocolId } = input.numbers;
    return [
      { family, words: `route add local ${family === 4 ? '0.0.0.0/0' : '::/0'} dev lo table ${table} protocol ${protocolId}` },
      { family, words: `rule add pref ${preference} fwmark ${hex(captureMark)}/${hex(mask)} lookup ${table} protocol ${protocolId}` },
      { family, words: `rule add pref ${preferenceBehindMain} lookup ${table + 1} protocol ${protocolId}` },
    ];
  });

/** Without a route connect() fails before the output hook sees a packet: one for each steered prefix, behind all others. */
const fallback = (input: PlanInput): readonly Change[] =>
  familiesOf(input).flatMap((family) =>
    steeredPrefixes(input.set, family).map((prefix) => {
      const source = family === 4 ? (input.facts.globalIpv4 ?? '127.0.0.1') : input.facts.globalIpv6;
      return {
        family,
        words: `route add ${formatPrefix(prefix)} dev lo${source === undefined ? '' : ` src ${source}`} table ${input.numbers.table + 1} protocol ${input.numbers.protocolId}`,
      };
    }),
  );

const argv = ({ family, words }: Change): readonly string[] => [`-${family}`, ...words.split(' ')];
const reverse = ({ family, words }: Change): Change => ({ family, words: words.replace(' add ', ' del ') });
const textOf = ({ family, words }: Change): string => `ip -${family} ${words}`;

class TallyInterceptor implements Interceptor {
  readonly #context: InterceptorContext;
  #input: PlanInput | undefined;

  constructor(context: InterceptorContext) {
    this.#context = context;
  }

  async probe(signal: AbortSignal) {
    signal.throwIfAborted();
    const missing = Object.entries(PROGRAMS)
      .filter(([program, flag]) => !quietly(program, flag))
      .map(([name]) => ({ kind: 'binary', name, remedy: 'apt-get install nftables iproute2' }) as const);
    if (missing.length > 0) return { verdict: 'unsupported', missing } as const;
    return { verdict: 'supported', facts: { nft: run('nft', ['--version']).trim() } } as const;
  }

  async provision(signal: AbortSignal) {
    signal.throwIfAborted();
    return tcpPoints(hostFacts());
  }

  async start(input: PlanInput, signal: AbortSignal) {
    const { host } = this.#context;
    const table = tableOf(input.owner);
    for (const change of delivery(input)) {
      signal.throwIfAborted();
      await host.change({
        id: textOf(change),
        describe: textOf(change),
        do: () => void run('ip', argv(change)),
        undo: () => void quietly('ip', ...argv(reverse(change))),
      });
    }
    const behind = input.numbers.table + 1;
    await host.change({
      id: `routes of table ${behind}`,
      describe: `add a route for each captured prefix to table ${behind}`,
      do: () => this.#follow(fallback(input)),
      undo: () => this.#follow([]),
    });
    signal.throwIfAborted();
    await host.change({
      id: `nft table inet ${table}`,
      describe: `add the nftables table inet ${table}`,
      do: () => void run('nft', ['-f', '-'], ruleset(input)),
      undo: () => void quietly('nft', 'delete', 'table', 'inet', table),
    });
    this.#input = input;
  }

  /** The routes of the table behind `main` that are there and those that should be. */
  #routes: readonly Change[] = [];
  #follow(wanted: readonly Change[], isRepair = false): void {
    const have = new Set(isRepair ? [] : this.#routes.map(textOf));
    const want = new Set(wanted.map(textOf));
    const old = this.#routes;
    this.#routes = wanted;
    for (const change of wanted) if (!have.has(textOf(change))) isRepair ? quietly('ip', ...argv(change)) : run('ip', argv(change));
    for (const change of old) if (!want.has(textOf(change))) quietly('ip', ...argv(reverse(change)));
  }

  async update(input: PlanInput, signal: AbortSignal) {
    signal.throwIfAborted();
    const kept = this.#routes;
    // Routes of new prefixes before they are steered, those of old ones until they are not.
    this.#follow([...new Map([...kept, ...fallback(input)].map((change) => [textOf(change), change])).values()]);
    try {
      run('nft', ['-f', '-'], ruleset(input));
    } catch (error) {
      this.#follow(kept);
      throw error;
    }
    this.#follow(fallback(input));
    this.#input = input;
  }

  async verify() {
    if (!this.#input) return [];
    const { owner } = this.#input;
    const absent = { expected: 'present', found: 'absent' };
    const drift: Drift[] = [];
    if (!quietly('nft', 'list', 'chain', 'inet', tableOf(owner), 'pre')) drift.push({ object: `nft table inet ${tableOf(owner)}`, ...absent });
    for (const family of familiesOf(this.#input)) {
      const { table, preference, preferenceBehindMain } = this.#context.numbers;
      for (const pref of [preference, preferenceBehindMain]) {
        if (run('ip', [`-${family}`, 'rule', 'show', 'pref', String(pref)]) === '') drift.push({ object: `ip -${family} rule ${pref}`, ...absent });
      }
      const behind = this.#routes.filter((change) => change.family === family).length;
      for (const [number, count] of [[table, 1], [table + 1, behind]] as const) {
        if (routesIn(this.#context.numbers, number, family) < count) drift.push({ object: `ip -${family} route table ${number}`, ...absent });
      }
    }
    return drift;
  }

  async repair(drift: readonly Drift[], signal: AbortSignal) {
    signal.throwIfAborted();
    if (!this.#input || drift.length === 0) return;
    for (const change of delivery(this.#input)) {
      const [kind] = change.words.split(' ');
      if (drift.some(({ object }) => object.startsWith(`ip -${change.family} ${kind} `) && change.words.includes(object.split(' ').at(-1) ?? ''))) {
        quietly('ip', ...argv(change));
      }
    }
    if (drift.some(({ object }) => object.endsWith(` ${this.#context.numbers.table + 1}`))) this.#follow(this.#routes, true);
    if (drift.some(({ object }) => object.startsWith('nft'))) run('nft', ['-f', '-'], ruleset(this.#input));
  }

  async drain() {
    if (this.#input) run('nft', ['-f', '-'], ruleset(this.#input, true));
  }

  async stop() {
    this.#input = undefined;
    await this.#context.host.undoAll();
  }
}

/** How many routes of ours a table has. */
const routesIn = ({ protocolId }: HostNumbers, table: number, family: Family): number =>
  run('ip', [`-${family}`, 'route', 'show', 'table', 'all']).match(new RegExp(`table ${table} proto ${protocolId}\\b`, 'g'))?.length ?? 0;

function plan(input: PlanInput): Plan {
  const steps = familiesOf(input).map((family) => ({
    tool: family === 4 ? ('ip' as const) : ('ip -6' as const),
    text: [...delivery(input), ...fallback(input)].filter((change) => change.family === family).map(({ words }) => words).join('\n'),
  }));
  return { interceptor: 'tally', steps: [...steps, { tool: 'nft', text: ruleset(input) }] };
}

export const interceptor = defineInterceptor<object>({
  id: 'tally',
  priority: 50,
  capabilities: {
    networks: [
      { family: 4, protocol: 'tcp' },
      { family: 6, protocol: 'tcp' },
    ],
    scopes: ['output'],
    transparent: true,
    preservesSource: true,
    owners: [],
  },
  options: mapping<object>({}),
  module: new URL(import.meta.url),
  points: tcpPoints,
  plan,
  create: (context) => new TallyInterceptor(context),
  async cleanUp({ owner, numbers }: CleanUpContext) {
    const removed: string[] = [];
    if (quietly('nft', 'delete', 'table', 'inet', tableOf(owner))) removed.push(`nft table inet ${tableOf(owner)}`);
    for (const family of FAMILIES) {
      for (const preference of [numbers.preference, numbers.preferenceBehindMain]) {
        while (quietly('ip', `-${family}`, 'rule', 'del', 'pref', String(preference), 'protocol', String(numbers.protocolId))) {
          removed.push(`ip -${family} rule ${preference}`);
        }
      }
      for (const table of [numbers.table, numbers.table + 1]) {
        if (routesIn(numbers, table, family) > 0 && quietly('ip', `-${family}`, 'route', 'flush', 'table', String(table))) {
          removed.push(`ip -${family} routes of table ${table}`);
        }
      }
    }
    return removed;
  },
});
