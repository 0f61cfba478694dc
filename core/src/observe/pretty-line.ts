/** One log line for a terminal: time, level, message, then the fields as key=value. */
import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];
type Fields = Readonly<Record<string, unknown>>;

const LEVELS: Readonly<Record<number, readonly [string, Style]>> = {
  20: ['debug', 'gray'],
  30: ['info ', 'green'],
  40: ['warn ', 'yellow'],
  50: ['error', 'red'],
};

/** What pino adds and a person knows, or can see in the words of the message. */
const HIDDEN: ReadonlySet<string> = new Set([
  'level',
  'time',
  'msg',
  'pid',
  'hostname',
  'event',
  'startedAt',
  'entries',
]);

/** Fields whose own fields say enough without the name before them. */
const OPENED: ReadonlySet<string> = new Set(['flow']);

const MAX_DEPTH = 3;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEndpoint(value: Fields): boolean {
  return typeof value['address'] === 'string' && typeof value['port'] === 'number' && Object.keys(value).length === 2;
}

function valueText(value: unknown): string {
  if (typeof value === 'string') return /^[\w.:/@*[\]-]+$/.test(value) ? value : JSON.stringify(value);
  if (isFields(value) && isEndpoint(value)) {
    const address = String(value['address']);
    return `${address.includes(':') ? `[${address}]` : address}:${String(value['port'])}`;
  }
  return JSON.stringify(value) ?? String(value);
}

/** Pairs of key and text; what is nested becomes `outer.inner`. */
function flattened(fields: Fields, prefix: string, depth: number): ReadonlyArray<readonly [string, string]> {
  return Object.entries(fields).flatMap(([key, value]) => {
    if (HIDDEN.has(key) || key === 'stack') return [];
    if (!isFields(value) || isEndpoint(value) || depth >= MAX_DEPTH) return [[prefix + key, valueText(value)] as const];
    return flattened(value, OPENED.has(key) ? prefix : `${prefix}${key}.`, depth + 1);
  });
}

/** The stack of an `error` field, which only the level `debug` has. */
function stackOf(entry: Fields): string {
  const error = entry['error'] ?? entry['err'];
  const stack = isFields(error) ? error['stack'] : undefined;
  return typeof stack === 'string' ? `${stack}\n` : '';
}

/**
 * @param json one line as pino writes it
 * @param colour whether the reader is a terminal that wants colours
 * @returns the line, with a newline at its end; a line that is no JSON comes back as it is
 */
export function prettyLine(json: string, colour: boolean): string {
  let entry: unknown;
  try {
    entry = JSON.parse(json);
  } catch {
    return json;
  }
  if (!isFields(entry)) return json;
  const paint = (style: Style, text: string) => (colour ? styleText(style, text, { validateStream: false }) : text);
  const [level, style] = LEVELS[Number(entry['level'])] ?? [String(entry['level']), 'white' as Style];
  // Local time: it is read beside the reader's own clock. JSON has the absolute one.
  const time = new Date(Number(entry['time']));
  const clock = `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, '0')}`;
  const message = typeof entry['msg'] === 'string' ? entry['msg'] : '';
  const fields = flattened(entry, '', 0).map(([key, text]) => `${paint('cyan', `${key}=`)}${text}`);
  // A message of several lines (the faults of a configuration) says it all, and fields would hang at its last one.
  const parts = message.includes('\n') ? [message] : [message, ...fields];
  return `${[paint('gray', clock), paint(style, level), ...parts].join(' ')}\n${stackOf(entry)}`;
}
