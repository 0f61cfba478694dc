/** What `capture` says in several places: scopes, interfaces and owners, and whether the chosen interceptors tell owners apart. */
import type { InterceptorDefinition } from '../api/interceptor.ts';
import { DEFAULTS } from './defaults.ts';
import type { Definitions } from './definitions.ts';
import { valueAt, type Finding } from './issues.ts';
import { itemsAt } from './references.ts';
import { quote } from './scalars.ts';

type OwnerKind = InterceptorDefinition['capabilities']['owners'][number];

/**
 * Loads the packages of interceptors only where processes are chosen by owner.
 * @param interceptor what the command line or the environment says instead of the document.
 */
export async function captureFindings(
  root: unknown,
  definitions: Definitions,
  interceptor: unknown = valueAt(root, ['interceptor']),
): Promise<readonly Finding[]> {
  return [...scopeFindings(root), ...(await ownerFindings(root, definitions, interceptor))];
}

function scopeFindings(root: unknown): readonly Finding[] {
  const given = itemsAt(root, ['capture', 'scopes']).map(([, value]) => value);
  const scopes: readonly unknown[] = given.length > 0 ? given : DEFAULTS.capture.scopes;
  const interfaces = itemsAt(root, ['capture', 'forward', 'interfaces']);
  const [owner] = ownersIn(root);
  const found: Finding[] = [];
  if (scopes.includes('forward') && interfaces.length === 0) {
    found.push({
      path: ['capture', 'scopes'],
      problem: 'forwarded traffic is to be captured, and no interface is named by which it enters',
      allowed: 'capture.forward.interfaces with at least one name as well: [eth1]',
    });
  }
  if (!scopes.includes('forward') && interfaces[0] !== undefined) {
    const problem = 'interfaces are named, and capture.scopes has no forward';
    found.push({ path: interfaces[0][0], problem, allowed: 'forward among capture.scopes' });
  }
  if (!scopes.includes('output') && owner !== undefined) {
    const problem = 'processes are chosen, and only forwarded traffic is captured, which no process of this host sends';
    found.push({ path: owner.path, problem, allowed: 'output among capture.scopes' });
  }
  return found;
}

interface OwnerAt {
  readonly path: readonly PropertyKey[];
  readonly text: string;
  readonly kind: OwnerKind;
}

function ownersIn(root: unknown): readonly OwnerAt[] {
  return ['only', 'except'].flatMap((key) =>
    itemsAt(root, ['capture', key]).flatMap(([path, text]): readonly OwnerAt[] => {
      const kind = typeof text === 'string' ? /^(uid|gid|cgroup):/.exec(text)?.[1] : undefined;
      return typeof text !== 'string' || kind === undefined ? [] : [{ path, text, kind: kind as OwnerKind }];
    }),
  );
}

const WORDS: Readonly<Record<OwnerKind, string>> = { uid: 'users', gid: 'groups', cgroup: 'control groups' };

/** One that can is enough: a selection passes over those that cannot. */
async function ownerFindings(
  root: unknown,
  definitions: Definitions,
  interceptor: unknown,
): Promise<readonly Finding[]> {
  const owners = ownersIn(root);
  if (owners.length === 0) return [];
  const named = itemsAt({ interceptor }, ['interceptor']).flatMap(([, id]) => (typeof id === 'string' ? [id] : []));
  const ids = definitions.interceptorIds;
  const chosen = named.length === 0 || named.includes('auto') ? ids : named.filter((id) => ids.includes(id));
  const loaded = await Promise.all(ids.map((id) => definitions.interceptor(id)));
  const can = (kind: OwnerKind): readonly string[] =>
    loaded.flatMap((one) =>
      one !== undefined && one.built !== false && one.capabilities.owners.includes(kind) ? [one.id] : [],
    );
  return owners.flatMap(({ path, text, kind }): readonly Finding[] => {
    const able = can(kind);
    if (chosen.length === 0 || chosen.some((id) => able.includes(id))) return [];
    const problem = `${chosen.join(', ')} cannot tell processes by ${WORDS[kind]}: ${quote(text)}`;
    return [{ path, problem, allowed: `with interceptor: ${able.join(' or ') || 'none that is installed'}` }];
  });
}
