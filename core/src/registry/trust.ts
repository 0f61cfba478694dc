/**
 * Who may write the code of a plugin. A process with privileges must not run what somebody else can change: not the entry
 * file, not the rest of its package, not the packages that it depends on, not a directory or link on the way to them.
 *
 * Nobody is refused who can change Weir itself already: a directory above Weir's own installation is not looked at, and
 * the owner of that installation may own plugins. So `sudo` works with an installation in one's own home.
 */
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync, type Stats } from 'node:fs';
import { dirname, isAbsolute, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PluginError } from '../api/errors.ts';
import { hasCapability } from '../sys/capabilities.ts';

const GROUP_WRITE = 0o020;
const OTHERS_WRITE = 0o002;
const STICKY = 0o1000;
/** As many links in one path as the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40;
/** Files and directories of one plugin with all that it depends on. */
const MAX_ENTRIES = 50_000;
/** What a file belongs to whose owner does not exist in this user namespace (user_namespaces(7)). */
const OVERFLOW_UID = 65_534;

const OWN_PACKAGE = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Whether code that this process runs can do what its user's other code cannot. */
function isPrivileged(): boolean {
  return process.geteuid?.() === 0 || hasCapability('CAP_NET_ADMIN');
}

/** Outside of the first user namespace an unknown owner is mostly root. */
function isNestedUserNamespace(): boolean {
  try {
    return readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/).join(' ') !== '0 0 4294967295';
  } catch {
    return false;
  }
}

class Inspection {
  readonly #plugin: string;
  /** Weir's own package and what is above it. */
  readonly #exempt = new Set<string>();
  readonly #fine = new Set<string>();
  /** Directories that were looked at with all in them. */
  readonly #trees = new Set<string>();
  readonly #packages = new Set<string>();
  readonly #owners: ReadonlySet<number>;
  readonly #groups: ReadonlySet<number>;
  #entries = 0;

  constructor(plugin: string) {
    this.#plugin = plugin;
    const own = statSync(OWN_PACKAGE);
    this.#owners = new Set([0, process.geteuid?.() ?? 0, own.uid, ...(isNestedUserNamespace() ? [OVERFLOW_UID] : [])]);
    this.#groups = new Set((own.mode & GROUP_WRITE) === 0 ? [] : [own.gid]);
    for (const above of upwards(OWN_PACKAGE)) this.#exempt.add(above);
  }

  /** Every directory, link and file on the way to `path`, as the kernel walks it. Returns where the way ends. */
  way(path: string): string {
    const rest = resolve(path).split(sep).filter(Boolean);
    let at: string = sep;
    this.#look(at);
    for (let links = 0; rest.length > 0;) {
      const name = rest.shift() as string;
      // Only of a link: meant from where the way to it has led.
      const next = name === '..' ? dirname(at) : join(at, name);
      const found = this.#look(next);
      if (found?.isSymbolicLink() !== true) {
        at = next;
        continue;
      }
      if (++links > MAX_LINKS) this.#fail(next, 'is a link that leads nowhere', `Remove the link ${next}.`);
      const target = readlinkSync(next);
      rest.unshift(...target.split(sep).filter((part) => part !== '' && part !== '.'));
      if (isAbsolute(target)) at = sep;
    }
    return at;
  }

  /** All of the package that `path` is in, or of its directory, and of the packages that it names. */
  package(path: string): void {
    const root = packageOf(path) ?? dirname(path);
    if (root === OWN_PACKAGE || this.#packages.has(root)) return;
    this.#packages.add(root);
    this.#tree(root);
    for (const above of upwards(root)) this.way(join(above, 'node_modules'));
    for (const name of dependenciesOf(root)) {
      const places = upwards(root).map((above) => join(above, 'node_modules', name));
      const place = places.find((one) => lstatSync(one, { throwIfNoEntry: false }) !== undefined);
      if (place !== undefined) this.package(join(this.way(place), 'package.json'));
    }
  }

  #tree(directory: string): void {
    if (directory === OWN_PACKAGE || this.#trees.has(directory)) return;
    this.#trees.add(directory);
    // Where everybody may add a file it is no matter that each can remove only its own.
    if (!this.#exempt.has(directory)) this.#refuseWritable(directory, lstatSync(directory));
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (++this.#entries > MAX_ENTRIES) {
        const remedy = 'Install the plugin by itself, with nothing but what it depends on.';
        this.#fail(directory, `has more than ${MAX_ENTRIES} files around it that would have to be looked at`, remedy);
      }
      if (entry.isSymbolicLink()) {
        const end = this.way(path);
        if (lstatSync(end, { throwIfNoEntry: false })?.isDirectory() === true) this.#tree(end);
      } else this.#look(path);
      if (entry.isDirectory()) this.#tree(path);
    }
  }

  /** Undefined where there is nothing: import() says better what is wrong. */
  #look(path: string): Stats | undefined {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined || this.#exempt.has(path) || this.#fine.has(path)) return found;
    if (!this.#owners.has(found.uid)) {
      const remedy = `Give it to root: chown root ${path}; or install the plugin where only root may write.`;
      this.#fail(path, `belongs to the user ${found.uid}`, remedy);
    }
    // A link has no mode of its own; what is in a sticky directory only its owner can replace.
    if (!found.isSymbolicLink() && !(found.isDirectory() && (found.mode & STICKY) !== 0)) {
      this.#refuseWritable(path, found);
    }
    this.#fine.add(path);
    return found;
  }

  #refuseWritable(path: string, { mode, gid }: Stats): void {
    if ((mode & OTHERS_WRITE) !== 0) {
      this.#fail(path, 'may be written by others', `Take the right from them: chmod o-w ${path}.`);
    }
    if ((mode & GROUP_WRITE) !== 0 && !this.#groups.has(gid)) {
      this.#fail(path, `may be written by the group ${gid}`, `Take the right from the group: chmod g-w ${path}.`);
    }
  }

  #fail(path: string, what: string, remedy: string): never {
    const who = process.geteuid?.() === 0 ? 'runs as root' : 'has CAP_NET_ADMIN';
    throw new PluginError({
      problem: `The plugin ${this.#plugin} is not loaded: ${path} ${what}, and Weir ${who}.`,
      remedy,
    });
  }
}

/** A directory and all above it, the nearest first. */
function upwards(directory: string): readonly string[] {
  const all = [directory];
  for (let at = directory; at !== dirname(at); at = dirname(at)) all.push(dirname(at));
  return all;
}

/** The nearest directory with a package.json, as Node looks for it. */
function packageOf(path: string): string | undefined {
  return upwards(dirname(path)).find((above) => {
    return lstatSync(join(above, 'package.json'), { throwIfNoEntry: false }) !== undefined;
  });
}

function dependenciesOf(root: string): readonly string[] {
  try {
    const json = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
    return ['dependencies', 'optionalDependencies', 'peerDependencies'].flatMap((key) => Object.keys(json[key] ?? {}));
  } catch {
    return [];
  }
}

/**
 * Does nothing in a process without privileges.
 * @param plugin as the user named it
 * @param entry the file that would be imported; absolute
 * @throws PluginError with the path that others may write, and how to take the right from them
 */
export function refuseWritableByOthers(plugin: string, entry: string): void {
  if (!isPrivileged()) return;
  const inspection = new Inspection(plugin);
  inspection.package(inspection.way(entry));
}
