/** The options of `type: socks5`. Written by hand instead of with zod, since workers import the dialers. */
import type { StandardIssue, StandardSchema } from '../api/schema.ts';
import { ALLOWED, parseHostPort, quote, ScalarFault } from '../config/scalars.ts';
import { didYouMean } from '../config/suggest.ts';

export interface Socks5Options {
  /** The proxy; a name is resolved through upstreams. */
  readonly address: { readonly host: string; readonly port: number };
  /** Both or neither. */
  readonly username?: string;
  readonly password?: string;
}

const KEYS = ['address', 'username', 'password'];
/** RFC 1929: one octet of length. */
const LONGEST = 255;

const issue = (key: string, problem: string, allowed: string): StandardIssue => ({
  message: `${problem}\n${allowed}`,
  path: [key],
});

function textOf(given: Readonly<Record<string, unknown>>, key: string, issues: StandardIssue[]): string | undefined {
  const value = given[key];
  if (value === undefined) return undefined;
  if (typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= LONGEST) return value;
  issues.push(issue(key, `"${key}" is no text of 1 to ${LONGEST} octets`, `a text of 1 to ${LONGEST} octets`));
  return undefined;
}

/** Takes `{ address: 'host:port', username?, password? }`. */
export const socks5Options: StandardSchema<Socks5Options> = {
  '~standard': {
    version: 1,
    vendor: 'weir',
    validate(value) {
      const given = (value ?? {}) as Readonly<Record<string, unknown>>;
      const issues: StandardIssue[] = Object.keys(given)
        .filter((key) => !KEYS.includes(key))
        .map((key) => issue(key, `unknown key ${quote(key)}${didYouMean(key, KEYS)}`, KEYS.join(', ')));
      const username = textOf(given, 'username', issues);
      const password = textOf(given, 'password', issues);
      if ((given['username'] === undefined) !== (given['password'] === undefined)) {
        const [present, absent] = given['username'] === undefined ? ['password', 'username'] : ['username', 'password'];
        issues.push(
          issue(present, `"${present}" is given without "${absent}"`, 'both username and password, or neither'),
        );
      }
      try {
        if (typeof given['address'] !== 'string') throw new ScalarFault('"address" is missing', ALLOWED.hostPort);
        const address = parseHostPort(given['address']);
        if (issues.length > 0) return { issues };
        return { value: { address, ...(username === undefined ? {} : { username, password: password ?? '' }) } };
      } catch (error) {
        if (!(error instanceof ScalarFault)) throw error;
        return { issues: [...issues, { message: `${error.problem}\n${error.allowed}`, path: ['address'] }] };
      }
    },
  },
};
