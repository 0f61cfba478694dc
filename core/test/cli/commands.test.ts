/** Command lines from arguments to what is printed and the exit code. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { weir } from './console.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-cli-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const GOOD = file(
  'good.yaml',
  `services:
  - { name: web, addresses: [web.internal, 203.0.113.0/24], ports: [80, 443], dialer: [pool, reset] }
dialers: { pool: { type: direct, to: "10.0.0.5:8080" } }
exclude: [203.0.113.128/25]
`,
);
const BAD = file('bad.yaml', 'services:\n  - { name: web, addresses: [web.internal], ports: [70000] }\nownr: x\n');

describe('usage', () => {
  test('nothing at all shows the help on standard error and exits with 2', async () => {
    const { code, out, err } = await weir([]);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain('Usage: weir');
  });

  test.each([[['--help']], [['run', '--help']], [['help', 'flows']]])(
    '%j is an answer and exits with 0',
    async (argv) => {
      const { code, out, err } = await weir(argv);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(out).toContain('Usage: weir');
    },
  );

  test('a command that has only commands below it shows them on standard error', async () => {
    const { code, out, err } = await weir(['config']);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain('its JSON Schema, for editors');
  });

  test('a misspelt command', async () => {
    expect(await weir(['chek'])).toEqual({
      code: 2,
      out: '',
      err: `weir: unknown command 'chek' (did you mean "check"?)\nTry weir --help, or weir COMMAND --help.\n`,
    });
  });

  test('a misspelt option', async () => {
    expect(await weir(['flows', '--folow'])).toEqual({
      code: 2,
      out: '',
      err: `weir: unknown option '--folow' (did you mean "--follow"?)\nTry weir --help, or weir COMMAND --help.\n`,
    });
  });

  test.each([
    [['test', 'x'], "missing required argument 'port'"],
    [['status', 'x'], 'too many arguments'],
    [['run', '--owner'], "option '--owner <name>' argument missing"],
    [['test', 'x', '99999', '--config', GOOD], '"99999" is not a port.'],
    [['test', 'x', '80', '--protocol', 'icmp', '--config', GOOD], '"icmp" is not a protocol.'],
    [['test', 'x', '80', '--source', 'here', '--config', GOOD], '"here" is not a source address.'],
    [['flows', '--limit', '0'], '--limit 0 is out of range.'],
    [['status', '--owner', 'no owner'], '"no owner" is not an owner.'],
    [['status', '--admin', 'relative'], '"relative" is no admin socket.'],
    [['cleanup', '--all', '--owner', 'x'], '--all and --owner exclude each other.'],
    [['check', GOOD, '--owner', ''], '--owner has no value.'],
  ])('%j exits with 2 and says why', async (argv, text) => {
    const { code, out, err } = await weir(argv);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(text);
  });

  test('version, for people and for programs', async () => {
    const { out } = await weir(['version']);
    expect(out).toMatch(/^weir \d+\.\d+\.\d+ \(Node \d+\.\d+\.\d+, Linux .*\)\n$/);
    const json = await weir(['version', '--json']);
    expect(JSON.parse(json.out)).toEqual({
      weir: expect.any(String),
      node: process.versions.node,
      kernel: expect.any(String),
      architecture: process.arch,
    });
    expect((await weir(['--version'])).out).toBe(`${JSON.parse(json.out).weir}\n`);
  });
});

describe('check', () => {
  test('a right file', async () => {
    expect(await weir(['check', GOOD])).toEqual({
      code: 0,
      out: `${GOOD} is right: 1 service, owner default, interceptor auto\n`,
      err: '',
    });
  });

  test('a right file, for programs, with settings from outside', async () => {
    const { code, out } = await weir(['check', GOOD, '--json', '--interceptor', 'nft,tun'], {
      environment: { WEIR_OWNER: 'edge' },
    });
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({
      file: GOOD,
      valid: true,
      owner: 'edge',
      interceptor: ['nft', 'tun'],
      services: ['web'],
      faults: [],
    });
  });

  test('a wrong file: every fault, the remedy last, nothing on standard output', async () => {
    expect(await weir(['check', BAD])).toEqual({
      code: 2,
      out: '',
      err: `${BAD}:2:53: port 70000 is out of range
   2 |   - { name: web, addresses: [web.internal], ports: [70000] }
     |                                                     ^ allowed: a port 1–65535, or a range as 8000-8100

${BAD}:3:1: unknown key "ownr" (did you mean "owner"?)
   3 | ownr: x
     | ^ allowed: interceptor, interceptors, require, owner, workers, worker-cpus, capture, resolver, dialers, services, exclude, unmatched, timeouts, limits, log, admin, plugins

weir: ${BAD} has 2 faults.
Mend it, then try weir check ${BAD}.
`,
    });
  });

  test('services that no interceptor can take, each with what it lacks', async () => {
    const udp = file('udp.yaml', 'services: [{ name: dns, addresses: ["2001:db8::/32"], protocols: [udp] }]\n');
    expect(await weir(['check', udp, '--interceptor', 'nft'])).toMatchObject({ code: 0 });
    const { code, out, err } = await weir(['check', udp, '--interceptor', 'proxy']);
    expect({ code: code > 0, out }).toEqual({ code: true, out: '' });
    expect(err).toBe(
      'weir: No interceptor fits this configuration (proxy: it captures nothing by itself, and no service has `listen:`).\n' +
        'Change addresses, scopes, protocols, require or interceptor.\n',
    );
    const forPrograms = await weir(['check', udp, '--interceptor', 'proxy', '--json']);
    expect(forPrograms).toMatchObject({ code, err: '' });
    expect(JSON.parse(forPrograms.out)).toMatchObject({
      valid: false,
      faults: [],
      error: { code: 'WEIR_NO_INTERCEPTOR', remedy: 'Change addresses, scopes, protocols, require or interceptor.' },
    });
  });

  test('a wrong file, for programs', async () => {
    const { code, out, err } = await weir(['check', BAD, '--json']);
    expect({ code, err }).toEqual({ code: 2, err: '' });
    const report = JSON.parse(out);
    expect(report).toMatchObject({ file: BAD, valid: false });
    expect(report.faults[0]).toEqual({
      file: BAD,
      line: 2,
      column: 53,
      path: 'services.0.ports.0',
      problem: 'port 70000 is out of range',
      allowed: 'a port 1–65535, or a range as 8000-8100',
      source: '  - { name: web, addresses: [web.internal], ports: [70000] }',
    });
  });

  test('no such file, and a directory', async () => {
    expect(await weir(['check', '/nowhere/weir.yaml'])).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^weir: The configuration \/nowhere\/weir\.yaml does not exist\.\nGive the path/),
    });
    expect(await weir(['check', directory])).toMatchObject({ code: 2, err: expect.stringContaining('is a directory') });
  });

  test('WEIR_CONFIG names the file where the command does not', async () => {
    const environment = { WEIR_CONFIG: GOOD };
    expect(await weir(['check'], { environment })).toMatchObject({ code: 0 });
    expect(await weir(['check', BAD], { environment })).toMatchObject({ code: 2 });
  });
});

describe('errors', () => {
  test('no stack trace reaches an operator, unless asked for', async () => {
    const argv = ['check', '/nowhere/weir.yaml'];
    expect((await weir(argv)).err).not.toMatch(/\n\s+at /);
    expect((await weir(argv, { environment: { WEIR_DEBUG: '1' } })).err).toMatch(/\n\s+at /);
    expect((await weir([...argv, '--log-level', 'debug'])).err).toMatch(/\n\s+at /);
  });

  test.each([[['status']], [['flows']], [['flows', '--follow']], [['services']], [['reload']], [['drain']]])(
    '%j without an instance exits with 6',
    async (argv) => {
      const { code, out, err } = await weir([...argv, '--owner', 'nobody', '--admin', join(directory, 'none.sock')]);
      expect({ code, out }).toEqual({ code: 6, out: '' });
      expect(err).toMatch(/^weir: No Weir of the owner "nobody" runs in this network namespace/);
      expect(err.trimEnd().split('\n').at(-1)).toMatch(/--owner\.?/);
    },
  );
});

describe('test', () => {
  test('which service takes a flow, and why', async () => {
    const { code, out } = await weir(['test', '203.0.113.5', '443', '--config', GOOD]);
    expect(code).toBe(0);
    expect(out).toMatch(
      /^203\.0\.113\.5 port 443\/tcp: the service web takes it, dialled by pool, then reset\n {2}the longest/,
    );
  });

  test.each([
    ['web.internal', '80', 'the service web takes it, dialled by pool, then reset'],
    ['web.internal', '81', 'captured by its name, and carried to its real address'],
    ['other.internal', '80', 'not intercepted'],
    ['203.0.113.200', '80', 'excluded, and left alone'],
    ['203.0.113.5', '81', 'not intercepted'],
  ])('%s port %s: %s', async (host, port, verdict) => {
    const { out } = await weir(['test', host, port, '--config', GOOD]);
    expect(out.split('\n')[0]).toBe(`${host} port ${port}/tcp: ${verdict}`);
  });

  test('for programs', async () => {
    const { out } = await weir(['test', 'web.internal', '80', '--config', GOOD, '--json']);
    expect(JSON.parse(out)).toMatchObject({ decision: 'service', service: 'web', dialers: ['pool', 'reset'] });
  });
});

describe('config schema', () => {
  test('is a JSON Schema that knows every key', async () => {
    const { code, out } = await weir(['config', 'schema']);
    expect(code).toBe(0);
    const schema = JSON.parse(out);
    expect(schema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      required: ['services'],
      additionalProperties: false,
    });
    expect(Object.keys(schema.properties)).toContain('services');
    expect(schema.properties.capture.properties['on-crash'].enum).toEqual(['open', 'closed']);
  });
});

describe('plan', () => {
  test('shows changes in the notation of the tools and makes none', async () => {
    const { code, out } = await weir([
      'plan',
      GOOD,
      '--interceptor',
      'nft',
      '--owner',
      'plantest',
      '--resolver',
      'none',
    ]);
    expect(code).toBe(0);
    expect(out).toMatch(/^# interceptor nft, owner plantest\n/);
    expect(out).toContain('\n# nft -f -\n');
    expect(out).toContain('table inet weir_plantest {');
    expect(out).toContain('203.0.113.0');
  });

  test('for programs', async () => {
    const { out } = await weir(['plan', GOOD, '--interceptor', 'nft', '--json']);
    expect(JSON.parse(out)).toMatchObject({ interceptor: 'nft', steps: expect.any(Array), notes: expect.any(Array) });
  });
});
