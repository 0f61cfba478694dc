/** One log line for a terminal: time, level, message, then the fields as key=value. */
import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

const LEVELS: Readonly<Record<number, readonly [string, Style]>> = {
  20: ['debug', 'gray'],
  30: ['info ', 'green'],
  40: ['warn ', 'yellow'],
  50: ['error', 'red'],
};

/** What pino adds and a person knows. */
const HIDDEN = new Set(['level', 'time', 'msg', 'pid', 'hostname']);

function fieldText(value: unknown): string {
  if (typeof value === 'string') return /^[\w.:/@*[\]-]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value) ?? String(value);
}

/**
 * @param json one line as pino writes it
 * @param colour whether the reader is a terminal that wants colours
 * @returns the line, with a newline at its end; a line that is no JSON comes back as it is
 */
export function prettyLine(json: string, colour: boolean): string {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(json) as Record<string, unknown>;
  } catch {
    return json;
  }
  const paint = (style: Style, text: string) => (colour ? styleText(style, text, { validateStream: false }) : text);
  const [level, style] = LEVELS[Number(entry['level'])] ?? [String(entry['level']), 'white' as Style];
  // Local time: it is read beside the reader's own clock. JSON has the absolute one.
  const time = new Date(Number(entry['time']));
  const clock = `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, '0')}`;
  const fields = Object.entries(entry)
    .filter(([key]) => !HIDDEN.has(key))
    .map(([key, value]) => `${paint('cyan', `${key}=`)}${fieldText(value)}`);
  return `${[paint('gray', clock), paint(style, level), typeof entry['msg'] === 'string' ? entry['msg'] : '', ...fields].join(' ')}\n`;
}
