/** A fault as an operator reads it. */
import type { ConfigurationFault } from '../api/errors.ts';

/** Colours the three parts of a fault; the default leaves them as they are. */
export interface FaultStyle {
  place(text: string): string;
  problem(text: string): string;
  caret(text: string): string;
}

const PLAIN: FaultStyle = { place: String, problem: String, caret: String };

/**
 * `weir.yaml:7:13: port 70000 is out of range`, the source line with a caret below the place, and what is allowed:
 * three lines, or two where there is no source. No newline at the end.
 */
export function faultText(fault: ConfigurationFault, style: FaultStyle = PLAIN): string {
  const head = `${style.place(`${fault.file}:${fault.line}:${fault.column}:`)} ${style.problem(fault.problem)}`;
  if (fault.source === undefined) return `${head}\n    allowed: ${fault.allowed}`;
  const number = String(fault.line).padStart(4);
  // Tabs stay tabs under the line, so that the caret stands where the terminal shows the fault.
  const indent = fault.source
    .slice(0, fault.column - 1)
    .replaceAll(/[^\t]/g, ' ')
    .padEnd(fault.column - 1);
  return `${head}\n${number} | ${fault.source}\n     | ${indent}${style.caret('^')} allowed: ${fault.allowed}`;
}
