/** Columns of text for people. Programs take --json. */
import { stripVTControlCharacters } from 'node:util';
import { type Output, paint } from './context.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

const GAP = '  ';

/** Printed width; East Asian wide characters are not looked at, since nothing in our tables is one. */
function widthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}

/** What comes from a network must not steer a terminal. */
function clean(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}

/**
 * A table with a head, each line ending in a newline. Lines that are longer than the terminal are left to it: cut
 * addresses would be wrong addresses.
 * @param rows cells in the order of `columns`, plain text
 */
export function table(output: Output, columns: readonly Column[], rows: ReadonlyArray<readonly string[]>): string {
  const cells = rows.map((row) => row.map(clean));
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...cells.map((row) => widthOf(row[i] ?? ''))),
  );
  const line = (texts: readonly string[]) =>
    columns
      .map((column, i) => {
        const text = texts[i] ?? '';
        const width = widths[i] as number;
        if (column.align === 'right') return text.padStart(width);
        return i === columns.length - 1 ? text : text.padEnd(width);
      })
      .join(GAP)
      .trimEnd();
  const head = paint(output, 'bold', line(columns.map((column) => column.title)));
  return `${[head, ...cells.map(line)].join('\n')}\n`;
}
