import type { StandardSchema } from '@weir/core';

/** What is wrong with a value, and what is allowed instead; undefined when nothing is. */
export type Check = (value: unknown) => { readonly problem: string; readonly allowed: string } | undefined;

/** A mapping with these keys at most. A key that is absent is checked as `undefined`. */
export function mapping<Options extends object>(checks: Readonly<Record<keyof Options & string, Check>>): StandardSchema<Options> {
  const known = Object.keys(checks);
  return {
    '~standard': {
      version: 1,
      vendor: 'weir-plugin-tally',
      validate(value) {
        if (value !== undefined && value !== null && (typeof value !== 'object' || Array.isArray(value))) {
          return { issues: [{ message: `this is no mapping\na mapping with ${known.join(', ') || 'no keys'}` }] };
        }
        const given = (value ?? {}) as Record<string, unknown>;
        const issues = Object.keys(given)
          .filter((key) => !known.includes(key))
          .map((key) => ({ message: `unknown key "${key}"\n${known.join(', ') || 'no keys'}`, path: [key] }));
        for (const key of known) {
          const fault = checks[key as keyof Options & string](given[key]);
          if (fault) issues.push({ message: `"${key}" ${fault.problem}\n${fault.allowed}`, path: [key] });
        }
        return issues.length > 0 ? { issues } : { value: given as Options };
      },
    },
  };
}
