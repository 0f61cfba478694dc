/** From `iptables-save` to chains. iptables-save(8), iptables-extensions(8). */
import type { Condition, FirewallChain, FirewallRule, MarkChange, Verdict } from './firewall.ts';

const ALL = 0xffff_ffff;

/** Built-in chains by the hook that they stand at. */
const HOOKS: Readonly<Record<string, string>> = {
  PREROUTING: 'prerouting',
  INPUT: 'input',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
};

/** Targets that are no chains and end nothing. */
const TARGETS = new Set(['LOG', 'NFLOG', 'ULOG', 'TRACE', 'MARK', 'CONNMARK', 'CT', 'NOTRACK', 'TCPMSS', 'TPROXY']);

/** Options that only belong to a match or target that is understood. */
const SILENT = new Set([
  '-m',
  '--comment',
  '--on-port',
  '--on-ip',
  '--tproxy-mark',
  '--nfmask',
  '--ctmask',
  '-j',
  '-g',
]);

/** Words of a rule; quoted ones may hold blanks. */
function wordsOf(line: string): readonly string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '');
}

function valueAndMask(text: string): { readonly value: number; readonly mask: number } {
  const [value = '0', mask] = text.split('/');
  return { value: Number(value) >>> 0, mask: mask === undefined ? ALL : Number(mask) >>> 0 };
}

interface Option {
  readonly name: string;
  readonly value: string;
  readonly negated: boolean;
}

function optionsOf(words: readonly string[]): readonly Option[] {
  const options: { name: string; value: string; negated: boolean }[] = [];
  let negated = false;
  for (const word of words) {
    if (word === '!') negated = true;
    else if (word.startsWith('-') && !/^-\d/.test(word)) {
      options.push({ name: word, value: '', negated });
      negated = false;
    } else {
      const last = options.at(-1);
      if (last) last.value = last.value === '' ? word : `${last.value} ${word}`;
    }
  }
  return options;
}

function conditionOf({ name, value, negated }: Option): Condition | undefined {
  if (name === '-i') return { kind: 'device', names: [value], negated };
  if (name === '--ctstate' || name === '--state') {
    return { kind: 'state', states: value.toLowerCase().split(','), negated };
  }
  if (name === '--mark') return { kind: 'mark', ...valueAndMask(value), negated };
  if (name === '-p' && value === 'tcp' && !negated) return { kind: 'tcp' };
  return undefined;
}

/** What the targets MARK and CONNMARK do to a packet's mark. */
function changeOf(options: readonly Option[]): MarkChange | undefined {
  for (const { name, value } of options) {
    if (name === '--set-xmark' || name === '--set-mark') {
      const { value: bits, mask } = valueAndMask(value);
      return { sets: bits, clears: (mask & ~bits) >>> 0 };
    }
    if (name === '--restore-mark') {
      const mask = options.find((option) => option.name === '--nfmask')?.value;
      return { sets: 0, clears: mask === undefined ? ALL : Number(mask) >>> 0 };
    }
  }
  return undefined;
}

function ruleOf(program: string, table: string, line: string): { readonly chain: string; readonly rule: FirewallRule } {
  const [, chain = '', ...words] = wordsOf(line);
  const options = optionsOf(words);
  const target = options.find(({ name }) => name === '-j')?.value.split(' ')[0] ?? '';
  const goto = options.find(({ name }) => name === '-g')?.value;
  const verdicts: Readonly<Record<string, Verdict>> = {
    ACCEPT: 'accept',
    DROP: 'drop',
    REJECT: 'drop',
    RETURN: 'return',
  };
  const change = target === 'MARK' || target === 'CONNMARK' ? changeOf(options) : undefined;
  const ofTarget = options.findIndex(({ name }) => name === '-j');
  const conditions = options.slice(0, ofTarget < 0 ? undefined : ofTarget).flatMap((option): readonly Condition[] => {
    const known = conditionOf(option);
    if (known !== undefined) return [known];
    return SILENT.has(option.name) ? [] : [{ kind: 'other' }];
  });
  const jump = target === '' || TARGETS.has(target) ? undefined : { jump: target };
  const verdict = goto === undefined ? (verdicts[target] ?? jump) : { goto };
  const specification = line.replace(/^-A /, '');
  return {
    chain,
    rule: {
      conditions,
      ...(verdict === undefined ? {} : { verdict }),
      // A connection's own mark is its own affair until it is copied back.
      changes: change === undefined || (target === 'CONNMARK' && !line.includes('--restore-mark')) ? [] : [change],
      compares: conditions.flatMap((condition) => (condition.kind === 'mark' ? [condition.value] : [])),
      tproxy: target === 'TPROXY',
      notrack: target === 'NOTRACK' || options.some(({ name }) => name === '--notrack'),
      text: `\`${specification}\` of ${program} -t ${table}`,
      removal: `${program} -t ${table} -D ${specification}`,
    },
  };
}

/** Whose chain it is, when it is a Weir's; owners with a long name are only known by a hash. */
function ownerOf(chain: string): string | undefined {
  const [, hashed, owner] = /^weir(-h)?\/([^/]+)\//.exec(chain) ?? [];
  return owner === undefined ? undefined : hashed === undefined ? owner : `#${owner}`;
}

/**
 * @param program the one that changes what the text lists, e.g. `iptables-nft`, `ip6tables-legacy`
 * @param text output of its `-save`
 */
export function parseIptables(
  program: string,
  text: string,
): { readonly chains: readonly FirewallChain[]; readonly owners: readonly string[] } {
  const chains: (FirewallChain & { readonly rules: FirewallRule[] })[] = [];
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    else if (line.startsWith(':')) {
      const [name = '', policy] = line.slice(1).split(' ');
      const owner = ownerOf(name);
      const hook = policy === '-' ? undefined : HOOKS[name];
      chains.push({
        table: `${program} ${table}`,
        name,
        ...(owner === undefined ? {} : { owner }),
        ...(hook === undefined ? {} : { hook }),
        ...(hook === undefined ? {} : { policy: policy === 'DROP' ? 'drop' : 'accept' }),
        rules: [],
        acceptLoopback: `${program} -t ${table} -I ${name} -i lo -j ACCEPT`,
      });
    } else if (line.startsWith('-A ')) {
      const { chain, rule } = ruleOf(program, table, line);
      chains.find((one) => one.table === `${program} ${table}` && one.name === chain)?.rules.push(rule);
    }
  }
  return { chains, owners: chains.flatMap(({ owner }) => owner ?? []) };
}
