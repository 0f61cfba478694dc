/**
 * Secrets in a configuration. Under a key that names one (`password`, `token`, …), inside of dialers and of
 * interceptors' options, stands `{ file: PATH }` or the secret itself; core reads the file, so that plugins get a text.
 */
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import type { Finding } from './issues.ts';
import { isSecretKey } from './place.ts';
import { quote } from './scalars.ts';

const READABLE_BY_OTHERS = 0o004;
/** Stands for a secret that could not be read, so that a dialer's schema does not miss it a second time. */
const UNREAD = '********';
const MAX_SECRET_BYTES = 64 * 1024;

type Path = readonly PropertyKey[];

export interface SecretContext {
  /** Where relative paths begin. */
  readonly directory: string;
  /** The configuration's own file, and whether others may read it; absent for an embedder's text. */
  readonly file?: { readonly name: string; readonly mode: number };
}

async function readSecret(
  value: Readonly<Record<string, unknown>>,
  path: Path,
  context: SecretContext,
  found: Finding[],
) {
  const allowed = '{ file: /etc/weir/name.password }';
  const name = value['file'];
  for (const key of Object.keys(value).filter((k) => k !== 'file')) {
    found.push({ path: [...path, key], atKey: true, problem: `unknown key ${quote(key)}`, allowed });
  }
  if (typeof name !== 'string' || name === '') {
    found.push({ path: [...path, 'file'], problem: 'a secret needs the path of its file', allowed });
    return UNREAD;
  }
  const absolute = isAbsolute(name) ? name : resolve(context.directory, name);
  const refuse = (problem: string, remedy: string) => {
    found.push({ path: [...path, 'file'], problem, allowed: remedy });
    return UNREAD;
  };
  try {
    const { mode, size } = await stat(absolute).then((s) => {
      if (!s.isFile()) throw Object.assign(new Error('is no regular file'), { code: 'not a regular file' });
      return s;
    });
    if ((mode & READABLE_BY_OTHERS) !== 0) {
      return refuse(`${absolute} may be read by others`, `a file that others cannot read: chmod o-rwx ${absolute}`);
    }
    if (size > MAX_SECRET_BYTES) return refuse(`${absolute} is larger than 64 KiB`, 'a file that holds one secret');
    const secret = (await readFile(absolute, 'utf8')).replace(/\r?\n$/, '');
    if (secret === '') return refuse(`${absolute} is empty`, 'a file that holds one secret');
    return secret;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'error';
    return refuse(`${absolute} cannot be read (${code})`, 'a file that this user can read and others cannot');
  }
}

/** Thousands of services have none, and waiting for each of their values takes longer than all else. */
function holdsSecret(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.some(holdsSecret);
  return Object.entries(value).some(([key, member]) => isSecretKey(key) || holdsSecret(member));
}

/** `value`, or a copy with every `{ file }` under a secret's key replaced by the file's content, without its last newline. */
async function resolved(value: unknown, path: Path, context: SecretContext, found: Finding[]): Promise<unknown> {
  if (!holdsSecret(value)) return value;
  if (Array.isArray(value)) {
    const items: unknown[] = [];
    for (const [i, item] of value.entries()) items.push(await resolved(item, [...path, i], context, found));
    return items;
  }
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) {
    const at = [...path, key];
    if (!isSecretKey(key)) {
      copy[key] = await resolved(member, at, context, found);
    } else if (typeof member === 'object' && member !== null && !Array.isArray(member)) {
      copy[key] = await readSecret(member as Readonly<Record<string, unknown>>, at, context, found);
    } else {
      copy[key] = member;
      // An empty one is none.
      if (member !== '' && context.file !== undefined && (context.file.mode & READABLE_BY_OTHERS) !== 0) {
        found.push({
          path: at,
          problem: `a secret stands in ${context.file.name}, which may be read by others`,
          allowed: `{ file: PATH }, or a configuration that others cannot read: chmod o-rwx ${context.file.name}`,
        });
      }
    }
  }
  return copy;
}

/** The document with its secrets read, and what was wrong with them. */
export async function resolveSecrets(
  root: unknown,
  context: SecretContext,
): Promise<{ readonly root: unknown; readonly findings: readonly Finding[] }> {
  if (typeof root !== 'object' || root === null || Array.isArray(root)) return { root, findings: [] };
  const findings: Finding[] = [];
  const copy: Record<string, unknown> = { ...root };
  for (const key of ['dialers', 'interceptors', 'resolver', 'services']) {
    if (Object.hasOwn(copy, key)) copy[key] = await resolved(copy[key], [key], context, findings);
  }
  return { root: copy, findings };
}
