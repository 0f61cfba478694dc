// Everything that Weir's commands need, made ready once: npm packages, Debian packages, the build. Plain JavaScript that
// runs on any Node >= 20 with nothing installed. A second run finds nothing to do and takes a fraction of a second.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/** Debian packages, what brings them here, and what cannot be done without them. */
const DEBIAN_PACKAGES = [
  {
    name: 'iproute2',
    file: '/usr/sbin/ip',
    for: 'start',
    without: 'no private hosts, no policy routing: nothing works',
  },
  {
    name: 'util-linux',
    file: '/usr/bin/unshare',
    for: 'start',
    without: 'no private hosts for npm start and the tests',
  },
  { name: 'nftables', file: '/usr/sbin/nft', for: 'start', without: 'no nft binary as fallback, no snapshot of rules' },
  {
    name: 'libnftables1',
    library: 'libnftables.so.1',
    for: 'start',
    without: 'the nft interceptor has to start a process per change',
  },
  { name: 'iptables', file: '/usr/sbin/iptables', for: 'start', without: 'snapshots of host state leave iptables out' },
  {
    name: 'libbpf1',
    library: 'libbpf.so.1',
    for: 'start',
    without: 'no ebpf-sklookup interceptor',
  },
  { name: 'curl', file: '/usr/bin/curl', for: 'start', without: 'npm start has no client to show' },
  { name: 'iputils-ping', file: '/usr/bin/ping', for: 'test', without: 'no test that ICMP is left alone' },
  { name: 'procps', file: '/usr/bin/pgrep', for: 'test', without: 'some tests cannot look at processes' },
  { name: 'kmod', file: '/usr/sbin/modprobe', for: 'test', without: 'kernel modules must be loaded by hand' },
  { name: 'iperf3', file: '/usr/bin/iperf3', for: 'test', without: 'no bulk in the benchmark' },
  { name: 'haproxy', file: '/usr/sbin/haproxy', for: 'test', without: 'no comparison with HAProxy' },
  { name: 'dante-server', file: '/usr/sbin/danted', for: 'test', without: 'no SOCKS5 proxy of another make in tests' },
  { name: 'bind9-dnsutils', file: '/usr/bin/dig', for: 'test', without: 'no DNS tests with dig' },
  { name: 'dnsmasq-base', file: '/usr/sbin/dnsmasq', for: 'test', without: 'no DNS upstream of another make in tests' },
  {
    name: 'clang-14',
    file: '/usr/bin/clang-14',
    for: 'test',
    without: 'no check that the committed BPF program is what its source compiles to',
  },
  { name: 'knot-dnsutils', file: '/usr/bin/kdig', for: 'test', without: 'no DNS tests with kdig' },
  { name: 'musl-tools', file: '/usr/bin/musl-gcc', for: 'test', without: 'no DNS tests with the resolver of musl' },
  { name: 'hey', file: '/usr/bin/hey', for: 'test', without: 'no DNS tests with the resolver of Go' },
  { name: 'openssl', file: '/usr/bin/openssl', for: 'test', without: 'no tests of DNS over TLS and HTTPS' },
  { name: 'unbound', file: '/usr/sbin/unbound', for: 'test', without: 'no comparison with unbound' },
  { name: 'dnsperf', file: '/usr/bin/dnsperf', for: 'test', without: 'no DNS in the benchmark' },
  { name: 'strace', file: '/usr/bin/strace', for: 'test', without: 'no guard that counts system calls' },
  { name: 'v2ray', file: '/usr/bin/v2ray', for: 'test', without: 'no second SOCKS5 proxy for UDP in tests' },
  { name: 'ngtcp2-client', file: '/usr/bin/gtlsclient', for: 'test', without: 'no tests with QUIC' },
  { name: 'ngtcp2-server', file: '/usr/sbin/gtlsserver', for: 'test', without: 'no tests with QUIC' },
  { name: 'zsh', file: '/usr/bin/zsh', for: 'test', without: 'no test of completion in zsh' },
  { name: 'fish', file: '/usr/bin/fish', for: 'test', without: 'no test of completion in fish' },
  { name: 'wrk', file: '/usr/bin/wrk', for: 'test', without: 'no requests and new connections in the benchmark' },
];

const say = (text) => process.stdout.write(`set-up: ${text}\n`);

/** A failure with its remedy; printed without a stack trace. */
export class SetupError extends Error {}

function run(program, args, options = {}) {
  const result = spawnSync(program, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 * 2 ** 20, ...options });
  return {
    ok: result.status === 0,
    output: `${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`,
  };
}

/** The last lines of what a program said: where the reason stands. */
const tail = (text, lines = 15) => text.trimEnd().split('\n').slice(-lines).join('\n');

/** Node 24 from the npm package where it is installed, else this Node if it is new enough. */
export function nodePath() {
  const packaged = join(ROOT, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
  if (existsSync(packaged) && run(packaged, ['--version']).ok) return packaged;
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return process.execPath;
  throw new SetupError(
    `Weir is developed on Node 24, this is ${process.versions.node}, and the npm package that brings Node 24 is not there ` +
      `for linux-${process.arch}. Install Node 24 (https://nodejs.org) and run the command again with it.`,
  );
}

/**
 * The environment in which programs of node_modules run on that Node. Tests start the built `weir`, and every process finds
 * code that was compiled before: hundreds of them are started, and most of their time was compiling.
 */
export function environment() {
  return {
    ...process.env,
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(ROOT, '.cache', 'node'),
    WEIR_TEST_PROGRAM: 'built',
    PATH: `${dirname(nodePath())}:${join(ROOT, 'node_modules', '.bin')}:${process.env.PATH ?? ''}`,
  };
}

function installNpmPackages() {
  const lock = join(ROOT, 'package-lock.json');
  const stamp = join(ROOT, 'node_modules', '.weir-setup');
  const installed = join(ROOT, 'node_modules', '.package-lock.json');
  const digest = existsSync(lock) ? createHash('sha256').update(readFileSync(lock)).digest('hex') : 'none';
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return;
  // Installed by hand, and nothing has changed since.
  const current = existsSync(lock) && existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs;
  if (!current) {
    say('installing npm packages (once, about half a minute)');
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    const { ok, output } = run('npm', [existsSync(lock) ? 'ci' : 'install', ...flags]);
    if (!ok) {
      // After the reason npm prints its whole manual.
      const [reason = ''] = output.split(/^npm error (?:Clean install|Install) a/m);
      throw new SetupError(
        `npm could not install the packages:\n${reason.trim()}\nCheck the network and run it again.`,
      );
    }
  }
  writeFileSync(stamp, digest);
}

function hasDebianPackage({ file, library }) {
  if (file) return existsSync(file) || existsSync(file.replace('/usr/', '/'));
  const directories = [
    '/usr/lib',
    '/lib',
    '/usr/lib64',
    ...['x86_64', 'aarch64'].map((cpu) => `/usr/lib/${cpu}-linux-gnu`),
  ];
  return directories.some((directory) => existsSync(join(directory, library)));
}

function installDebianPackages(purpose) {
  const wanted = DEBIAN_PACKAGES.filter((entry) => purpose === 'test' || entry.for === 'start');
  const missing = () => wanted.filter((entry) => !hasDebianPackage(entry));
  const before = missing();
  if (before.length === 0) return;
  const names = before.map(({ name }) => name);
  if (process.getuid() === 0 && existsSync('/usr/bin/apt-get')) {
    say(`installing ${names.join(' ')}`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const install = (wanted = names) =>
      run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...wanted], { env });
    let result = install();
    if (!result.ok) {
      run('apt-get', ['update', '-q'], { env });
      result = install();
    }
    // One name that this release of Debian does not have must not keep the others away.
    if (!result.ok && names.length > 1) for (const name of names) install([name]);
    if (!result.ok && missing().length > 0) say(`apt-get did not succeed:\n${tail(result.output)}`);
  }
  const left = missing();
  if (left.length === 0) return;
  for (const { name, without } of left) say(`missing: ${name} (${without})`);
  say(`to have everything: sudo apt-get install ${left.map(({ name }) => name).join(' ')}`);
}

/** Unpacked and not installed: the package makes itself the resolver of the machine. */
function unpackResolved() {
  const directory = join(ROOT, '.cache', 'debian', 'systemd-resolved');
  if (existsSync('/lib/systemd/systemd-resolved') || existsSync(join(directory, 'lib'))) return;
  if (process.getuid() !== 0 || !existsSync('/usr/bin/apt-get')) return;
  mkdirSync(directory, { recursive: true });
  const cwd = { cwd: directory };
  const fetched = run('apt-get', ['download', '-q', 'systemd-resolved'], cwd).ok;
  const unpacked =
    fetched && run('sh', ['-c', 'dpkg-deb -x systemd-resolved_*.deb . && rm systemd-resolved_*.deb'], cwd).ok;
  if (!unpacked) say('missing: systemd-resolved (no tests of the reach by it)');
}

function build() {
  const tsc = realpathSync(join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'));
  // The bundle is made anew only when something was compiled.
  for (const step of [[tsc, '-b'], [join(ROOT, 'scripts', 'bundle.mjs')]]) {
    const { ok, output } = run(nodePath(), step, { env: environment() });
    if (!ok) throw new SetupError(`The build failed:\n${tail(output, 40)}\nMend the sources and run it again.`);
  }
}

/**
 * Makes everything ready.
 * @param {{ purpose: 'start' | 'test' }} options `start`: what npm start needs; `test`: also what tests and bench need.
 * @throws {SetupError}
 */
export function setup({ purpose }) {
  const [major = 0] = process.versions.node.split('.').map(Number);
  if (process.platform !== 'linux') throw new SetupError(`Weir is for Linux, and this is ${process.platform}.`);
  if (major < 20) throw new SetupError(`Node ${process.versions.node} is too old. Install Node 20 or newer.`);
  installNpmPackages();
  installDebianPackages(purpose);
  if (purpose === 'test') unpackResolved();
  build();
}

/** Runs a command's main function; a failure of the set-up is told in a sentence and ends with exit code 1. */
export async function main(body) {
  try {
    process.exitCode = await body();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

/**
 * Makes everything ready, then runs a TypeScript file with this command's arguments and ends as it ends. The script runs in
 * a process group of its own and gets each signal once, from here; when this process is killed it gets SIGTERM.
 */
export async function runScript(file, purpose) {
  await main(async () => {
    setup({ purpose });
    const argv = ['--pdeathsig', 'TERM', nodePath(), '--conditions=source', join(ROOT, file), ...process.argv.slice(2)];
    const child = spawn('setpriv', argv, { cwd: ROOT, env: environment(), stdio: 'inherit', detached: true });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
    return new Promise((resolve, reject) => {
      child.on('error', () => reject(new SetupError('setpriv is not installed. Install util-linux.')));
      child.on('close', (code) => resolve(code ?? 1));
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    setup({ purpose: 'test' });
    return 0;
  });
}
