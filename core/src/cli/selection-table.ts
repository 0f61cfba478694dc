/** The selection report for people: which interceptors there were, and why each was taken or not. */
import type { SelectionReport } from '../engine/report.ts';
import type { Output } from './context.ts';
import { table } from './table.ts';

export function selectionTable(output: Output, report: SelectionReport): string {
  const rows = report.entries.map((entry) => [
    entry.interceptor,
    entry.outcome,
    [entry.reason, ...entry.missing.map((missing) => `${missing.name}: ${missing.remedy}`), entry.remedy ?? '']
      .filter((text) => text !== '')
      .join(' — '),
  ]);
  return table(output, [{ title: 'INTERCEPTOR' }, { title: 'OUTCOME' }, { title: 'DETAIL' }], rows);
}
