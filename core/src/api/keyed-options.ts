/** Options of a plugin as a mapping with known keys, each checked by itself: a schema without a library for schemas. */
import type { StandardSchema } from './schema.ts';

/** Says what is wrong with a value; `undefined` when nothing is. */
export type OptionCheck = (value: unknown) => string | undefined;

/**
 * Accepts no value at all as none given. A key that is not there is not checked.
 * @param checks of every key that there is; none where there are no options.
 */
export function keyedOptions<Options extends object>(
  checks: Readonly<Record<keyof Options & string, OptionCheck>>,
): StandardSchema<Options> {
  const keys = Object.keys(checks);
  const known = keys.length === 0 ? 'there are none' : `there are ${keys.join(', ')}`;
  const faultOf = (key: string, value: unknown) =>
    Object.hasOwn(checks, key) ? checks[key as keyof Options & string](value) : `unknown key; ${known}`;
  return {
    '~standard': {
      version: 1,
      vendor: 'weir',
      validate: (value) => {
        if (value === undefined || value === null) return { value: {} as Options };
        if (typeof value !== 'object' || Array.isArray(value)) {
          return { issues: [{ message: `must be a mapping of options; ${known}` }] };
        }
        const issues = Object.entries(value).flatMap(([key, given]: [string, unknown]) => {
          const message = faultOf(key, given);
          return message === undefined ? [] : [{ message, path: [key] }];
        });
        return issues.length > 0 ? { issues } : { value: value as Options };
      },
    },
  };
}
