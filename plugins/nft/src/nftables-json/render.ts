/** JSON objects in nft's native syntax (nft(8)), as `nft -f` reads them. */
import type {
  NftChain,
  NftCommand,
  NftExpression,
  NftMatch,
  NftObject,
  NftRule,
  NftSet,
  NftStatement,
} from './types.ts';

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
  if ('socket' in expression) return `socket cgroupv2 level ${expression.socket.level}`;
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

/** Names of devices and of control groups are quoted: they may hold dots, dashes and slashes. */
function renderNames(right: NftExpression): string {
  if (typeof right === 'string') return `"${right}"`;
  if (typeof right === 'object' && 'set' in right) return `{ ${right.set.map(renderNames).join(', ')} }`;
  return renderExpression(right);
}

function isNamed(left: NftExpression): boolean {
  if (typeof left !== 'object' || isList(left)) return false;
  return 'socket' in left || ('meta' in left && left.meta.key === 'iifname');
}

function renderMatch({ op, left, right }: NftMatch): string {
  // `a & b c` would be read as something else.
  const operator = op === '!=' ? '!= ' : typeof left === 'object' && '&' in left ? '== ' : '';
  if (isNamed(left)) return `${renderExpression(left)} ${operator}${renderNames(right)}`;
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

function renderHead(chain: NftChain): readonly string[] {
  if (chain.hook === undefined) return [];
  return [`type ${chain.type} hook ${chain.hook} priority ${chain.prio}; policy ${chain.policy};`];
}

function renderChain(chain: NftChain, rules: readonly NftRule[]): readonly string[] {
  const base = renderHead(chain);
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

/** One object behind a verb, as `add` and `create` take it. */
function renderObject(object: NftObject): string {
  if ('table' in object) return `table ${object.table.family} ${object.table.name}`;
  if ('chain' in object) {
    const head = renderHead(object.chain).join(' ');
    return `chain ${object.chain.family} ${object.chain.table} ${object.chain.name} { ${head} }`;
  }
  if ('rule' in object) {
    const { family, table, chain } = object.rule;
    return `rule ${family} ${table} ${chain} ${renderRule(object.rule)}`;
  }
  if ('set' in object) {
    const { family, table, name } = object.set;
    const [, ...body] = renderSet(object.set);
    // A type and its flags end at a line or a semicolon; the list of elements at its brace.
    const parts = body.map((line) => (/^\t(?:type|flags) /.test(line) ? `${line.trim()};` : line.trim()));
    return `set ${family} ${table} ${name} { ${parts.join(' ')}`;
  }
  const { family, table, name, elem } = object.element;
  return `element ${family} ${table} ${name} { ${elem.map(renderExpression).join(', ')} }`;
}

/** One command in native syntax, on one line. */
export function renderCommand(command: NftCommand): string {
  if ('create' in command) return `create ${renderObject(command.create)}`;
  if ('add' in command) return `add ${renderObject(command.add)}`;
  if ('flush' in command) {
    const { family, table, name } = command.flush.chain;
    return `flush chain ${family} ${table} ${name}`;
  }
  const { delete: gone } = command;
  if ('set' in gone) return `delete set ${gone.set.family} ${gone.set.table} ${gone.set.name}`;
  if ('chain' in gone) return `delete chain ${gone.chain.family} ${gone.chain.table} ${gone.chain.name}`;
  return `delete ${renderObject(gone)}`;
}
