/** What the command line and the environment say instead of the file. Flag, then `WEIR_*`, then file, then default. */
import type { ConfigurationFault } from '../api/errors.ts';
import { valueAt, type Finding } from './issues.ts';
import { printable } from './scalars.ts';

/** One setting that can be given outside of the file. */
export interface OverrideSetting {
  readonly path: readonly string[];
  /** Without dashes, as commander names it in its options object in camel case. */
  readonly flag: string;
  readonly variable?: string;
  readonly kind: 'text' | 'list' | 'number';
}

/** There is no variable for `require`: WEIR_REQUIRE names groups of this project's tests and may be set around a run. */
export const OVERRIDES: readonly OverrideSetting[] = [
  { path: ['interceptor'], flag: 'interceptor', variable: 'WEIR_INTERCEPTOR', kind: 'list' },
  { path: ['require'], flag: 'require', kind: 'list' },
  { path: ['owner'], flag: 'owner', variable: 'WEIR_OWNER', kind: 'text' },
  { path: ['workers'], flag: 'workers', variable: 'WEIR_WORKERS', kind: 'number' },
  { path: ['worker-cpus'], flag: 'worker-cpus', variable: 'WEIR_WORKER_CPUS', kind: 'text' },
  { path: ['resolver', 'reach'], flag: 'resolver', variable: 'WEIR_RESOLVER', kind: 'text' },
  { path: ['log', 'level'], flag: 'log-level', variable: 'WEIR_LOG_LEVEL', kind: 'text' },
  { path: ['log', 'format'], flag: 'log-format', variable: 'WEIR_LOG_FORMAT', kind: 'text' },
  { path: ['log', 'flows'], flag: 'log-flows', variable: 'WEIR_LOG_FLOWS', kind: 'text' },
  { path: ['admin'], flag: 'admin', variable: 'WEIR_ADMIN', kind: 'text' },
  { path: ['plugins'], flag: 'plugin', kind: 'list' },
];

/** Values by flag name without dashes; a flag that was given several times is joined with commas. */
export type Flags = Readonly<Record<string, string | undefined>>;
export type Environment = Readonly<Record<string, string | undefined>>;

interface Given {
  readonly setting: OverrideSetting;
  readonly text: string;
  /** `--owner ` or `WEIR_OWNER=`, for placing. */
  readonly prefix: string;
  readonly file: string;
}

/** What was given outside of the file, as a document of its own. */
export interface Overrides {
  readonly root: Readonly<Record<string, unknown>>;
  readonly any: boolean;
  place(finding: Finding): ConfigurationFault;
}

function valueOf({ setting, text }: Given): unknown {
  if (setting.kind === 'list') {
    return text
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  }
  return setting.kind === 'number' && /^\d+$/.test(text) ? Number(text) : text;
}

/** An empty variable is one that is not set. */
export function collectOverrides(flags: Flags, environment: Environment): Overrides {
  const given: Given[] = [];
  const root: Record<string, unknown> = {};
  for (const setting of OVERRIDES) {
    const flag = flags[setting.flag];
    const fromEnvironment = setting.variable === undefined ? undefined : environment[setting.variable];
    if (flag !== undefined) {
      given.push({ setting, text: flag, prefix: `--${setting.flag} `, file: 'command line' });
    } else if (fromEnvironment !== undefined && fromEnvironment !== '') {
      const prefix = `${setting.variable}=`;
      given.push({ setting, text: fromEnvironment, prefix, file: 'environment' });
    }
  }
  for (const entry of given) {
    const [first, second] = entry.setting.path as readonly [string, string?];
    if (second === undefined) root[first] = valueOf(entry);
    else root[first] = { ...(root[first] as object | undefined), [second]: valueOf(entry) };
  }
  return {
    root,
    any: given.length > 0,
    place(finding) {
      const entry = given.find(({ setting }) => setting.path.every((key, i) => finding.path[i] === key));
      const path = finding.path.map(String).join('.');
      const problem = printable(finding.problem);
      const allowed = printable(finding.allowed);
      if (entry === undefined) return { file: 'command line', line: 1, column: 1, path, problem, allowed };
      const source = printable(`${entry.prefix}${entry.text}`);
      const value = valueAt(root, finding.path);
      const offset = entry.setting.kind === 'list' && typeof value === 'string' ? entry.text.indexOf(value) : 0;
      const column = entry.prefix.length + Math.max(offset, 0) + 1;
      return { file: entry.file, line: 1, column, path, problem, allowed, source };
    },
  };
}
