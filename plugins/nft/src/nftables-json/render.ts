/** JSON objects in nft's native syntax (nft(8)), as `nft -f` reads them. */
import type { NftChain, NftExpression, NftMatch, NftRule, NftSet, NftStatement } from './types.ts';

/** True for the short form of several bits. (Array.isArray does not narrow readonly arrays.) */
export function isList(expression: object): expression is readonly NftExpression[] {
  return Array.isArray(expression);
}

function hex(value: NftExpression): string {
  return typeof value === 'number' ? `0x${value.toString(16).padStart(8, '0')}` : renderExpression(value);
}

function isMark(expression: NftExpression): boolean {
  if (typeof expression !== 'object' || isList(expression)) return false;
  if ('meta' in expression) return expression.meta.key === 'mark';
  if ('ct' in expression) return expression.ct.key === 'mark';
  if ('&' in expression) return isMark(expression['&'][0]);
  return '|' in expression && isMark(expression['|'][0]);
}

/** One value. Marks are written in hexadecimal, as people read them. */
export function renderExpression(expression: NftExpression): string {
  if (typeof expression === 'string') return expression;
  if (typeof expression === 'number') return String(expression);
  if (isList(expression)) return `(${expression.map(renderExpression).join('|')})`;
  if ('meta' in expression) return `meta ${expression.meta.key}`;
  if ('ct' in expression) return `ct ${expression.ct.key}`;
  if ('payload' in expression) return `${expression.payload.protocol} ${expression.payload.field}`;
  if ('fib' in expression) return `fib ${expression.fib.flags.join(' . ')} ${expression.fib.result}`;
  if ('concat' in expression) return expression.concat.map(renderExpression).join(' . ');
  if ('set' in expression) return `{ ${expression.set.map(renderExpression).join(', ')} }`;
  if ('range' in expression) return expression.range.map(renderExpression).join('-');
  if ('prefix' in expression) return `${expression.prefix.addr}/${expression.prefix.len}`;
  const [left, right, sign] =
    '&' in expression ? ([...expression['&'], '&'] as const) : ([...expression['|'], '|'] as const);
  return `${renderExpression(left)} ${sign} ${isMark(left) ? hex(right) : renderExpression(right)}`;
}

/** Names of devices are quoted: they may hold dots and dashes. */
function renderNames(right: NftExpression): string {
  if (typeof right === 'string') return `"${right}"`;
  if (typeof right === 'object' && 'set' in right) return `{ ${right.set.map(renderNames).join(', ')} }`;
  return renderExpression(right);
}

function isDeviceName(left: NftExpression): boolean {
  return typeof left === 'object' && 'meta' in left && left.meta.key === 'iifname';
}

function renderMatch({ op, left, right }: NftMatch): string {
  // `a & b c` would be read as something else.
  const operator = op === '!=' ? '!= ' : typeof left === 'object' && '&' in left ? '== ' : '';
  if (isDeviceName(left)) return `${renderExpression(left)} ${operator}${renderNames(right)}`;
  return `${renderExpression(left)} ${operator}${isMark(left) ? hex(right) : renderExpression(right)}`;
}

/** One match or action of a rule. */
export function renderStatement(statement: NftStatement): string {
  if ('match' in statement) return renderMatch(statement.match);
  if ('mangle' in statement) {
    const { key, value } = statement.mangle;
    return `${renderExpression(key)} set ${isMark(key) ? hex(value) : renderExpression(value)}`;
  }
  if ('tproxy' in statement) {
    const { family, addr, port } = statement.tproxy;
    return `tproxy ${family} to ${family === 'ip6' ? `[${addr}]` : addr}:${port}`;
  }
  if ('reject' in statement) {
    const { reject } = statement;
    return `reject with ${reject.type}${'expr' in reject ? ` type ${reject.expr}` : ''}`;
  }
  if ('jump' in statement) return `jump ${statement.jump.target}`;
  if ('goto' in statement) return `goto ${statement.goto.target}`;
  return 'accept' in statement ? 'accept' : 'return';
}

export function renderRule(rule: NftRule): string {
  const comment = rule.comment === undefined ? [] : [`comment "${rule.comment}"`];
  return [...rule.expr.map(renderStatement), ...comment].join(' ');
}

function renderSet(set: NftSet): readonly string[] {
  const type = typeof set.type === 'string' ? set.type : set.type.join(' . ');
  const flags = set.flags && set.flags.length > 0 ? [`flags ${set.flags.join(', ')}`] : [];
  const elements = set.elem ?? [];
  const listed =
    elements.length === 0 ? [] : ['elements = {', ...elements.map((element) => `\t${renderExpression(element)},`), '}'];
  return [`set ${set.name} {`, ...[`type ${type}`, ...flags, ...listed].map((line) => `\t${line}`), '}'];
}

function renderChain(chain: NftChain, rules: readonly NftRule[]): readonly string[] {
  const base =
    chain.hook === undefined
      ? []
      : [`type ${chain.type} hook ${chain.hook} priority ${chain.prio}; policy ${chain.policy};`];
  return [`chain ${chain.name} {`, ...[...base, ...rules.map(renderRule)].map((line) => `\t${line}`), '}'];
}

/** The content of one table. */
export interface NftTableContent {
  readonly family: 'inet';
  readonly table: string;
  readonly sets: readonly NftSet[];
  readonly chains: ReadonlyArray<{ readonly chain: NftChain; readonly rules: readonly NftRule[] }>;
}

/** A whole table as one `table` block. */
export function renderTable({ family, table, sets, chains }: NftTableContent): string {
  const blocks = [...sets.map(renderSet), ...chains.map(({ chain, rules }) => renderChain(chain, rules))];
  const inner = blocks.map((lines) => lines.map((line) => `\t${line}\n`).join('')).join('\n');
  return `table ${family} ${table} {\n${inner}}\n`;
}
