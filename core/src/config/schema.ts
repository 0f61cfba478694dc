/**
 * The shape of a configuration document, for zod: keys, types and single values. What needs two places at once (names
 * that are used twice, dialers that do not exist) is `references.ts`. Importing this file costs what importing zod
 * costs, so only `load.ts` and `json-schema.ts` do, and lazily.
 *
 * A message is `problem\nallowed`; `issues.ts` takes it apart.
 */
import { z } from 'zod';
import { isAddress } from '../capture/address.ts';
import {
  ALLOWED,
  OWNER,
  parseAddressOrName,
  parseCount,
  parseDnsEndpoint,
  parseDuration,
  parseDurationOrOff,
  parseEndpoint,
  parseMapPlace,
  parseName,
  parseNetwork,
  parseOwnerMatch,
  parsePorts,
  parseProcessors,
  parseReach,
  parseUpstream,
  parseUpstreamServer,
  quote,
  ScalarFault,
} from './scalars.ts';

/** Runs a parser of `scalars.ts` inside a schema. */
function parsed<In, Out>(parse: (value: In) => Out) {
  return (value: In, context: z.RefinementCtx<In>): Out => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof ScalarFault)) throw error;
      context.addIssue({ code: 'custom', message: `${error.problem}\n${error.allowed}` });
      return z.NEVER;
    }
  };
}

/** A text with a meaning. */
const text = <Out>(allowed: string, parse: (value: string) => Out) =>
  z
    .string({ error: () => `\n${allowed}` })
    .meta({ description: allowed })
    .transform(parsed(parse));

/** A text or a number with a meaning. */
const scalar = <Out>(allowed: string, parse: (value: string | number) => Out) =>
  z
    .union([z.number(), z.string()], { error: () => `\n${allowed}` })
    .meta({ description: allowed })
    .transform(parsed(parse));

/** One or a list of them; always read as a list. */
const list = <T extends z.ZodType>(item: T) => z.union([z.array(item), item.transform((value) => [value])]);

const duration = scalar(ALLOWED.duration, (value) => parseDuration(String(value)));
const count = (minimum: number, maximum: number) =>
  scalar(ALLOWED.count, (value) => parseCount(value, minimum, maximum));
const network = text(ALLOWED.prefix, parseNetwork);
const endpoint = text(ALLOWED.endpoint, parseEndpoint);
const ports = scalar(ALLOWED.port, parsePorts);
const protocol = z.enum(['tcp', 'udp']);

const word = (what: string) =>
  z.string({ error: () => `\n${what}: letters, digits, "-", "_" and "."` }).regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, {
    error: (issue) => `${quote(issue.input)} is not ${what}\nletters, digits, "-", "_" and ".", at most 63`,
  });

const interceptorId = z
  .string({ error: () => '\nan interceptor id: nft, tproxy-iptables, ebpf-sklookup, tun, proxy' })
  .regex(/^[a-z][a-z0-9-]*$/, {
    error: (issue) => `${quote(issue.input)} is not an interceptor id\nauto, or ids as nft, tun`,
  });

/** An owner names kernel objects (`inet weir_<owner>`) and a directory. */
const owner = z.string({ error: () => `\n${ALLOWED.instance}` }).regex(OWNER, {
  error: (issue) => `${quote(issue.input)} is not an owner\n${ALLOWED.instance}`,
});

const dialerType = z.string({ error: () => '\nthe name of a dialer type: direct' });
const dialer = z.looseObject({ type: dialerType });
const dialerUse = z.union([word("a dialer's name"), dialer]);

const service = z.strictObject({
  name: word("a service's name"),
  addresses: list(text(`${ALLOWED.pattern}; or ${ALLOWED.prefix}`, parseAddressOrName)).refine(
    (all) => all.length > 0,
    {
      error: () => 'the list is empty\nat least one name or prefix',
    },
  ),
  ports: list(ports).optional(),
  protocols: list(protocol).optional(),
  sources: list(network).optional(),
  dialer: list(dialerUse).optional(),
  listen: endpoint.optional(),
  address: z.enum(['assigned', 'real']).optional(),
  resolve: z.enum(['weir', 'upstream']).optional(),
});

const whole = (first: number, last: number, what = `a whole number from ${first} to ${last}`) =>
  z
    .int({ error: () => `\n${what}` })
    .min(first, { error: (issue) => `${String(issue.input)} is out of range\n${what}` })
    .max(last, { error: (issue) => `${String(issue.input)} is out of range\n${what}` });

/** A fwmark or a mask: a number, in YAML also as 0x3f000000. */
const mark = whole(1, 0xffff_ffff, 'a mark from 1 to 0xffffffff');

const capture = z.strictObject({
  scopes: list(z.enum(['output', 'forward'])).optional(),
  forward: z
    .strictObject({
      interfaces: list(
        z.string().regex(/^[^\s/:"*\\]{1,15}$/, {
          error: (issue) => `${quote(issue.input)} is not an interface\na name of at most 15 characters: eth1`,
        }),
      ),
    })
    .optional(),
  mark: z.union([z.literal('auto'), z.strictObject({ mask: mark, capture: mark, bypass: mark })]).optional(),
  table: z.union([z.literal('auto'), whole(1, 0xffff_ffff)]).optional(),
  preference: z.union([z.literal('auto'), whole(1, 32_765)]).optional(),
  'on-drift': z.enum(['repair', 'fail', 'ignore']).optional(),
  'on-crash': z.enum(['open', 'closed']).optional(),
  only: list(text(ALLOWED.owner, parseOwnerMatch)).optional(),
  except: list(text(ALLOWED.owner, parseOwnerMatch)).optional(),
});

const suffix = text(ALLOWED.suffix, (value) => parseName(value, ALLOWED.suffix));
const address = z.string({ error: () => '\nan IPv4 or IPv6 address' }).refine(isAddress, {
  error: (issue) => `${quote(issue.input)} is not an address\nan IPv4 or IPv6 address`,
});
const absolutePath = z.string({ error: () => '\nan absolute path' }).regex(/^\/.*[^/]$/, {
  error: (issue) => `${quote(issue.input)} is no absolute path of a file\nan absolute path`,
});

/** A server with what its URL has no place for. */
const upstreamServer = z
  .strictObject({
    server: text(ALLOWED.upstream, parseUpstreamServer),
    address: address.optional(),
    for: list(suffix).optional(),
    dialer: word("a dialer's name").optional(),
    ca: absolutePath.optional(),
  })
  .transform(({ server, address: at, for: suffixes, dialer: by, ca }) => ({
    ...server,
    ...(at === undefined
      ? {}
      : {
          endpoint: { address: at, port: server.endpoint.port },
          ...(isAddress(server.endpoint.address) || server.serverName !== undefined
            ? {}
            : { serverName: server.endpoint.address }),
        }),
    ...(suffixes === undefined || suffixes.length === 0 ? {} : { suffixes }),
    ...(by === undefined ? {} : { dialer: by }),
    ...(ca === undefined ? {} : { ca }),
  }));

const resolver = z.strictObject({
  listen: list(text(ALLOWED.dns, (value) => parseDnsEndpoint(value))).optional(),
  reach: text(ALLOWED.reach, parseReach).optional(),
  ranges: list(network).optional(),
  upstreams: list(z.union([text(ALLOWED.upstream, parseUpstream), upstreamServer])).optional(),
  mode: z.enum(['failover', 'serial', 'random', 'parallel']).optional(),
  unanswerable: z.enum(['refused', 'servfail', 'timeout', 'nxdomain']).optional(),
  'udp-bytes': whole(512, 4096, 'a number of bytes from 512 to 4096').optional(),
  ttl: duration.refine((value) => value >= 1000, { error: () => 'the duration is too short\nat least 1s' }).optional(),
  keep: duration.optional(),
  secret: z.string({ error: () => '\n{ file: /etc/weir/names.secret }' }).optional(),
  map: text(ALLOWED.map, parseMapPlace).optional(),
  cache: count(0, 1_000_000).optional(),
  'serve-stale': text(`off, or ${ALLOWED.duration}`, parseDurationOrOff).optional(),
  rebinding: z.enum(['allow', 'block']).optional(),
  'rebinding-allow': list(suffix).optional(),
  'doh-canary': z.boolean().optional(),
  test: z.enum(['fatal', 'warn', 'off']).optional(),
  plugins: z.record(z.string(), z.looseObject({})).optional(),
});

export const documentSchema = z.strictObject({
  interceptor: list(interceptorId)
    .refine((all) => all.length > 0, { error: () => 'the list is empty\nauto, one id, or several in order' })
    .optional(),
  interceptors: z.record(z.string(), z.looseObject({})).optional(),
  require: list(z.enum(['transparent', 'udp', 'ipv6', 'forward'])).optional(),
  owner: owner.optional(),
  workers: whole(1, 64).optional(),
  'worker-cpus': scalar(ALLOWED.processors, parseProcessors).optional(),
  capture: capture.optional(),
  resolver: resolver.optional(),
  dialers: z.record(z.string(), dialer).optional(),
  services: z.array(service),
  exclude: list(network).optional(),
  unmatched: z.enum(['reset', 'drop', 'direct']).optional(),
  timeouts: z
    .strictObject({
      connect: duration.optional(),
      handshake: duration.optional(),
      idle: duration.optional(),
      'udp-idle': duration.optional(),
      'half-closed': duration.optional(),
      drain: duration.optional(),
    })
    .optional(),
  limits: z
    .strictObject({
      flows: count(1, 1_000_000).optional(),
      'udp-sessions': count(1, 1_000_000).optional(),
      'pending-dials': count(1, 65_535).optional(),
      names: count(1, 4_000_000).optional(),
      'real-addresses': count(1, 100_000).optional(),
    })
    .optional(),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).optional(),
      format: z.enum(['auto', 'json', 'pretty']).optional(),
      flows: z.enum(['off', 'closed', 'all']).optional(),
    })
    .optional(),
  admin: z
    .string({ error: () => '\nunix, off, or an absolute path' })
    .regex(/^(?:unix|off|\/.{1,100})$/, {
      error: (issue) => `${quote(issue.input)} is no place for the admin socket\nunix, off, or an absolute path`,
    })
    .optional(),
  plugins: list(
    z.string().min(1, { error: () => 'the name is empty\na package name, or a path that begins with ./ or /' }),
  ).optional(),
});

/** A document whose single values are right. */
export type DocumentValue = z.output<typeof documentSchema>;

/** The keys that the mapping at a path may have; empty where any key is allowed. */
export function knownKeys(path: readonly PropertyKey[]): readonly string[] {
  const shapes = (schema: z.core.$ZodType, rest: readonly PropertyKey[]): readonly string[] => {
    const def = (schema as z.core.$ZodTypes)._zod.def;
    if (def.type === 'optional') return shapes(def.innerType, rest);
    if (def.type === 'pipe') return shapes(def.in, rest);
    if (def.type === 'union') return def.options.flatMap((option) => shapes(option, rest));
    if (def.type === 'array') return typeof rest[0] === 'number' ? shapes(def.element, rest.slice(1)) : [];
    if (def.type === 'record') return rest.length > 0 ? shapes(def.valueType, rest.slice(1)) : [];
    if (def.type !== 'object') return [];
    const [key, ...deeper] = rest;
    if (key === undefined) return def.catchall?._zod.def.type === 'never' ? Object.keys(def.shape) : [];
    const member = typeof key === 'string' && Object.hasOwn(def.shape, key) ? def.shape[key] : undefined;
    return member === undefined ? [] : shapes(member, deeper);
  };
  return [...new Set(shapes(documentSchema, path))];
}
