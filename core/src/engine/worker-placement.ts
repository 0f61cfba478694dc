/** On which processors workers run: what `worker-cpus` says, held against what this process may use. */
import { ConfigurationError } from '../api/errors.ts';
import type { Configuration } from '../config/model.ts';
import { allowedProcessors, processorsText } from '../sys/affinity.ts';

/**
 * @param allowed processors that this process may use, ascending
 * @returns the processors that workers take in turn, beginning again when there are more workers; empty: any
 * @throws ConfigurationError when one is listed that this process may not use
 */
export function workerProcessors(
  wanted: Configuration['workerCpus'],
  allowed: () => readonly number[] = allowedProcessors,
): readonly number[] {
  if (wanted === 'none') return [];
  const usable = allowed();
  if (wanted === 'auto') return usable;
  const known = new Set(usable);
  const missing = wanted.filter((processor) => !known.has(processor));
  if (missing.length === 0) return wanted;
  const which = `${missing.length === 1 ? 'processor' : 'processors'} ${processorsText(missing)}`;
  throw new ConfigurationError([], {
    problem: `worker-cpus names ${which}, which Weir may not use here: it may use ${processorsText(usable)}.`,
    remedy:
      'Name only those, set worker-cpus: auto, or give Weir more (cpuset of its control group, CPUAffinity=, taskset).',
  });
}
