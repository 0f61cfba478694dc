/**
 * What takes two places of a document to see. Works on the plain values, so that it also finds its faults where others
 * were found before; whatever is of a wrong type is passed over, since the schema has said so already.
 */
import { protocolsOfDialer } from '../api/dialer.ts';
import type { Prefix } from '../api/flow.ts';
import { formatPrefix, parsePrefix, prefixContains } from '../capture/address.ts';
import { DEFAULTS } from './defaults.ts';
import { BUILT_IN_DIALERS, type Definitions } from './definitions.ts';
import { valueAt, type Finding } from './issues.ts';
import { parseDuration, parseNetwork, quote } from './scalars.ts';
import { didYouMean } from './suggest.ts';

type Path = readonly PropertyKey[];

/** The items of a list, or the one value that stands for a list of one; with their paths. */
export function itemsAt(root: unknown, path: Path): ReadonlyArray<readonly [Path, unknown]> {
  const value = valueAt(root, path);
  if (Array.isArray(value)) return value.map((item, i) => [[...path, i], item] as const);
  return value === undefined || value === null ? [] : [[path, value]];
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function prefixesAt(root: unknown, path: Path): ReadonlyArray<readonly [Path, Prefix]> {
  return itemsAt(root, path).flatMap(([at, value]) => {
    if (typeof value !== 'string') return [];
    try {
      return [[at, parseNetwork(value)] as const];
    } catch {
      return [];
    }
  });
}

function duplicates(values: ReadonlyArray<readonly [Path, unknown]>, what: string): readonly Finding[] {
  const seen = new Map<unknown, Path>();
  const found: Finding[] = [];
  for (const [path, value] of values) {
    if (typeof value !== 'string') continue;
    if (seen.has(value)) {
      found.push({ path, problem: `${what} ${quote(value)} is there twice`, allowed: 'each one once' });
    } else seen.set(value, path);
  }
  return found;
}

/** Ranges from which no address can be given to a name: nothing is ever routed there. */
const UNUSABLE = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '::/96', 'fe80::/10', 'ff00::/8'].map(
  parsePrefix,
);

function overlaps(a: Prefix, b: Prefix): boolean {
  return prefixContains(a, b.family, b.address) || prefixContains(b, a.family, a.address);
}

function rangeFindings(root: unknown): readonly Finding[] {
  const found: Finding[] = [];
  const ranges = prefixesAt(root, ['resolver', 'ranges']);
  const taken: Prefix[] = [];
  for (const [path, range] of ranges) {
    const text = formatPrefix(range);
    const clash = taken.find((other) => overlaps(other, range));
    if (clash !== undefined) {
      found.push({ path, problem: `${text} overlaps ${formatPrefix(clash)}`, allowed: 'one IPv4 and one IPv6 prefix' });
    } else if (taken.some((other) => other.family === range.family)) {
      const problem = `${text} is a second IPv${range.family} range`;
      found.push({ path, problem, allowed: 'at most one IPv4 and one IPv6 prefix' });
    }
    taken.push(range);
    const shortest = range.family === 4 ? 30 : 126;
    if (range.length > shortest) {
      found.push({ path, problem: `${text} is too small to give names addresses`, allowed: `/${shortest} or wider` });
    }
    const unusable = UNUSABLE.find((other) => overlaps(other, range));
    if (unusable !== undefined) {
      const allowed = 'a range that nobody uses, as 100.64.0.0/10 or fd64:7765:6972::/64';
      found.push({ path, problem: `${text} lies in ${formatPrefix(unusable)}, which is never routed`, allowed });
    }
  }
  // Without ranges of its own a file has the default ones.
  if (valueAt(root, ['resolver', 'ranges']) === undefined) taken.push(...DEFAULTS.resolver.ranges);
  const inside = (lists: readonly Path[], what: string) => {
    for (const list of lists) {
      for (const [path, prefix] of prefixesAt(root, list)) {
        const range = taken.find((r) => prefixContains(r, prefix.family, prefix.address) && r.length <= prefix.length);
        if (range === undefined) continue;
        found.push({
          path,
          problem: `${formatPrefix(prefix)} lies in the range ${formatPrefix(range)} that names get addresses from`,
          allowed: `${what} outside of resolver.ranges`,
        });
      }
    }
  };
  const services = itemsAt(root, ['services']);
  inside(
    services.map(([path]) => [...path, 'addresses']),
    'a prefix',
  );
  inside([['exclude']], 'a prefix');
  return found;
}

/** Dialers that do not carry what their service takes: passed over in silence, a flow would get another one than is written. */
function protocolFindings(
  root: unknown,
  service: Path,
  uses: ReadonlyArray<readonly [Path, unknown]>,
  { dialerTypes }: Definitions,
): readonly Finding[] {
  const protocols = itemsAt(root, [...service, 'protocols']).map(([, value]) => value);
  if (!protocols.includes('udp')) return [];
  const able = [...dialerTypes].filter(([, definition]) => protocolsOfDialer(definition).includes('udp'));
  const types = able.map(([type]) => type).toSorted();
  return uses.flatMap(([path, use]) => {
    if (BUILT_IN_DIALERS.includes(String(use))) return [];
    const type: unknown = valueAt(root, isMapping(use) ? [...path, 'type'] : ['dialers', String(use), 'type']);
    const definition = dialerTypes.get(String(type));
    if (definition === undefined || protocolsOfDialer(definition).includes('udp')) return [];
    const problem = `a dialer of type ${String(type)} carries no udp, which this service takes`;
    const allowed = `of the types that do, ${types.join(', ')}; or reset or drop; or "protocols: [tcp]"`;
    return [{ path, problem, allowed }];
  });
}

function dialerFindings(root: unknown, definitions: Definitions): readonly Finding[] {
  const found: Finding[] = [];
  const types = [...definitions.dialerTypes.keys()];
  const checkType = (path: Path, dialer: unknown) => {
    if (definitions.lacksSome || !isMapping(dialer)) return;
    if (typeof dialer['type'] !== 'string' || definitions.dialerTypes.has(dialer['type'])) return;
    const type = dialer['type'];
    found.push({
      path: [...path, 'type'],
      problem: `unknown dialer type ${quote(type)}${didYouMean(type, types)}`,
      allowed:
        BUILT_IN_DIALERS.includes(type) && !types.includes(type)
          ? `"dialer: ${type}" without a type; as a type: ${types.join(', ')}`
          : `a known type: ${types.join(', ')}`,
    });
  };
  const configured = valueAt(root, ['dialers']);
  const names = isMapping(configured) ? Object.keys(configured) : [];
  for (const name of names) {
    const path = ['dialers', name];
    if (BUILT_IN_DIALERS.includes(name)) {
      found.push({ path, atKey: true, problem: `the dialer ${quote(name)} is built in`, allowed: 'another name' });
    } else if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) {
      const problem = `${quote(name)} is not a dialer's name`;
      found.push({ path, atKey: true, problem, allowed: 'letters, digits, "-", "_" and ".", at most 63' });
    }
    checkType(path, valueAt(root, path));
  }
  const known = [...BUILT_IN_DIALERS, ...names];
  const isKnown = new Set(known);
  for (const [servicePath] of itemsAt(root, ['services'])) {
    const uses = itemsAt(root, [...servicePath, 'dialer']);
    if (uses.length === 0) continue;
    for (const [path, use] of uses) {
      checkType(path, use);
      if (typeof use !== 'string' || isKnown.has(use)) continue;
      const problem = `unknown dialer ${quote(use)}${didYouMean(use, known)}`;
      found.push({ path, problem, allowed: `one of ${known.join(', ')}` });
    }
    found.push(...duplicates(uses, 'the dialer'), ...protocolFindings(root, servicePath, uses, definitions));
    const last = uses.findIndex(([, use]) => use === 'reset' || use === 'drop');
    if (last >= 0 && last < uses.length - 1) {
      const [path] = uses[last + 1] as readonly [Path, unknown];
      const problem = `this dialer comes after ${quote(uses[last]?.[1])} and is never tried`;
      found.push({ path, problem, allowed: 'reset or drop as the last one' });
    }
  }
  return found;
}

function resolverFindings(root: unknown, definitions: Definitions): readonly Finding[] {
  const found: Finding[] = [];
  const plugins = valueAt(root, ['resolver', 'plugins']);
  const known = [...definitions.resolvers.keys()];
  const ids = isMapping(plugins) && !definitions.lacksSome ? Object.keys(plugins) : [];
  for (const id of ids.filter((key) => !known.includes(key))) {
    const problem = `unknown resolver ${quote(id)}${didYouMean(id, known)}`;
    const allowed = known.length > 0 ? `one of ${known.join(', ')}` : 'a resolver of a plugin that "plugins" names';
    found.push({ path: ['resolver', 'plugins', id], atKey: true, problem, allowed });
  }
  const dialers = valueAt(root, ['dialers']);
  const names = ['direct', ...(isMapping(dialers) ? Object.keys(dialers) : [])];
  for (const [path, upstream] of itemsAt(root, ['resolver', 'upstreams'])) {
    if (!isMapping(upstream)) continue;
    const { dialer, server } = upstream;
    if (typeof dialer === 'string' && !names.includes(dialer)) {
      const problem = `unknown dialer ${quote(dialer)}${didYouMean(dialer, names)}`;
      found.push({ path: [...path, 'dialer'], problem, allowed: `one of ${names.join(', ')}` });
    }
    if (upstream['ca'] !== undefined && typeof server === 'string' && !/^(?:tls|https):/.test(server)) {
      const problem = 'only tls:// and https:// servers have a certificate';
      found.push({ path: [...path, 'ca'], atKey: true, problem, allowed: 'no "ca" here' });
    }
  }
  const duration = (key: string, otherwise: number): number => {
    const text = valueAt(root, ['resolver', key]);
    try {
      return typeof text === 'string' ? parseDuration(text) : otherwise;
    } catch {
      return otherwise;
    }
  };
  const [ttl, keep] = [duration('ttl', DEFAULTS.resolver.ttl), duration('keep', DEFAULTS.resolver.keep)];
  if (keep < 2 * ttl) {
    const key = valueAt(root, ['resolver', 'keep']) === undefined ? 'ttl' : 'keep';
    const problem = 'names would lose their addresses while clients still use them';
    found.push({ path: ['resolver', key], problem, allowed: '"keep" at least twice as long as "ttl"' });
  }
  return found;
}

function interceptorFindings(root: unknown, definitions: Definitions): readonly Finding[] {
  const chosen = itemsAt(root, ['interceptor']);
  const found: Finding[] = [...duplicates(chosen, 'the interceptor')];
  const known = definitions.interceptorIds;
  const named = isMapping(valueAt(root, ['interceptors']))
    ? Object.keys(valueAt(root, ['interceptors']) as object)
    : [];
  const isUnknown = (id: string) => !definitions.lacksSome && !known.includes(id);
  for (const id of named.filter(isUnknown)) {
    const problem = `unknown interceptor ${quote(id)}${didYouMean(id, known)}`;
    found.push({ path: ['interceptors', id], atKey: true, problem, allowed: `one of ${known.join(', ')}` });
  }
  for (const [path, id] of chosen) {
    if (typeof id !== 'string') continue;
    if (id === 'auto' && chosen.length > 1) {
      found.push({ path, problem: '"auto" stands in a list', allowed: 'auto alone, or ids in the order to try' });
    } else if (id !== 'auto' && /^[a-z][a-z0-9-]*$/.test(id) && isUnknown(id)) {
      const problem = `unknown interceptor ${quote(id)}${didYouMean(id, [...known, 'auto'])}`;
      found.push({ path, problem, allowed: `auto, or of ${known.join(', ')}` });
    }
  }
  return found;
}

function markFindings(root: unknown): readonly Finding[] {
  const path = ['capture', 'mark'];
  const [mask, capture, bypass] = ['mask', 'capture', 'bypass'].map((key) => valueAt(root, [...path, key]));
  if (typeof mask !== 'number' || typeof capture !== 'number' || typeof bypass !== 'number') return [];
  const found: Finding[] = [];
  const hex = (n: number) => `0x${n.toString(16)}`;
  for (const [key, bits] of [['capture', capture] as const, ['bypass', bypass] as const]) {
    // Unsigned: bit 31 is a bit like any other.
    if ((bits & ~mask) >>> 0 !== 0) {
      const problem = `${hex(bits)} has bits outside of the mask ${hex(mask)}`;
      found.push({ path: [...path, key], problem, allowed: 'only bits of the mask' });
    }
  }
  if (capture === bypass) {
    const problem = 'the bypass mark is the capture mark';
    found.push({ path: [...path, 'bypass'], problem, allowed: 'two different marks' });
  }
  return found;
}

/** Lists of addresses that only say what is not meant. */
function addressFindings(root: unknown): readonly Finding[] {
  const isExcluded = (value: unknown) => typeof value === 'string' && /^![^\d:/]/.test(value);
  return itemsAt(root, ['services']).flatMap(([path, service]) => {
    const given = valueAt(service, ['addresses']);
    if (!(Array.isArray(given) ? given.every(isExcluded) : isExcluded(given))) return [];
    const [first] = itemsAt(root, [...path, 'addresses']);
    if (first === undefined) return [];
    const [at] = first;
    const problem = 'the list says only what is not meant';
    return [{ path: at, problem, allowed: 'a name, a pattern or a prefix as well' }];
  });
}

/** A name has one kind of address: services that name the same pattern must agree about it. */
function realFindings(root: unknown): readonly Finding[] {
  const kinds = new Map<string, string>();
  const found: Finding[] = [];
  for (const [path, service] of itemsAt(root, ['services'])) {
    const kind = valueAt(service, ['address']) === 'real' ? 'real' : 'assigned';
    const given = valueAt(service, ['addresses']);
    for (const [place, value] of (Array.isArray(given) ? given : [given]).entries()) {
      if (typeof value !== 'string' || value.startsWith('!')) continue;
      const pattern = value.toLowerCase().replace(/\.$/, '');
      const other = kinds.get(pattern) ?? kind;
      kinds.set(pattern, other);
      if (other === kind) continue;
      const problem = `"${value}" has "address: ${kind}" here and "address: ${other}" in another service`;
      const at = [...path, 'addresses', ...(Array.isArray(given) ? [place] : [])];
      found.push({ path: at, problem, allowed: 'the same in all services that name it' });
    }
  }
  return found;
}

/** All findings that need more than one place of the document, or the registry. */
export function referenceFindings(root: unknown, definitions: Definitions): readonly Finding[] {
  const services = itemsAt(root, ['services']);
  const at = (key: string) =>
    services.flatMap(([path, service]) => {
      const value = valueAt(service, [key]);
      return value === undefined ? [] : [[[...path, key], value] as const];
    });
  return [
    ...duplicates(at('name'), 'the service'),
    ...duplicates(at('listen'), 'the listener'),
    ...dialerFindings(root, definitions),
    ...interceptorFindings(root, definitions),
    ...resolverFindings(root, definitions),
    ...addressFindings(root),
    ...realFindings(root),
    ...rangeFindings(root),
    ...markFindings(root),
  ];
}
