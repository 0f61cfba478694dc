import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { missingFor, requires } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SCRIPT = [process.execPath, '--conditions=source', `${ROOT}scripts/start.ts`];

interface Run extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly code: Promise<number | null>;
}

function start(argv: readonly string[]): Run {
  // Ended with this process, however that ends: --keep would stay for ever.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...argv], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const code = once(child, 'close').then(() => child.exitCode);
  return {
    child,
    output: () => output,
    code,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await code;
    },
  };
}

/** Processes of `npm start` of this checkout, and of the packed Weir that it runs. */
function survivors(): readonly string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    })
    .filter((line) => line.includes(`${ROOT}.cache/packed`) || line.includes(`${ROOT}scripts/start.ts`));
}

function expectSuccess(output: string): void {
  for (const url of ['shop.internal/', 'eu.shop.internal/basket', '203.0.113.7/', '[2001:db8:1::7]/']) {
    expect(output).toContain(`$ curl http://${url}`);
  }
  expect(output.match(/"server":"the real server"/g)).toHaveLength(4);
  expect(output).toMatch(/through Weir +[\d.]+ Gbit\/s {2}\(relay: splice/);
  expect(output).toMatch(/^ {3}identical$/m);
}

describe.skipIf(requires('namespaces', 'nft', 'ipv6', 'curl'))('npm start', () => {
  test('does the set-up, shows the main job and puts everything back', { timeout: 180_000 }, async () => {
    await using run = start([process.execPath, 'scripts/start.mjs']);
    expect(await run.code, run.output()).toBe(0);
    expectSuccess(run.output());
    await expect.poll(survivors, { timeout: 5000 }).toEqual([]);
  });

  test('with --keep it stays up, and Ctrl-C ends it in order', { timeout: 180_000 }, async () => {
    await using run = start([process.execPath, 'scripts/start.mjs', '--keep']);
    await expect.poll(run.output, { timeout: 120_000 }).toMatch(/Ctrl-C here/);
    const printed = /nsenter -t \d+ .*-n -m/.exec(run.output())?.[0] ?? 'false';
    // This process may be in that user namespace itself, which cannot be entered from inside.
    const inside = process.getuid?.() === 0 && missingFor('root') !== undefined;
    const enter = inside ? printed.replace('-U --preserve-credentials ', '') : printed;
    await using byHand = start([...enter.split(' '), 'curl', '-sS', '-m', '10', 'http://any.shop.internal/']);
    expect(await byHand.code, byHand.output()).toBe(0);
    expect(byHand.output()).toContain('"host":"any.shop.internal"');
    run.child.kill('SIGINT');
    expect(await run.code, run.output()).toBe(0);
    expectSuccess(run.output());
    await expect.poll(survivors, { timeout: 5000 }).toEqual([]);
  });

  test('interrupted in the middle it leaves nothing', { timeout: 60_000 }, async () => {
    await using run = start(SCRIPT);
    await expect.poll(run.output, { timeout: 50_000 }).toMatch(/weir run weir.yaml/);
    run.child.kill('SIGINT');
    expect(await run.code).toBe(130);
    await expect.poll(survivors, { timeout: 5000 }).toEqual([]);
  });

  test('where namespaces are refused it says so and ends with 7', { timeout: 60_000 }, async () => {
    const refuse = 'echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"';
    await using run = start(['unshare', '-Ur', 'sh', '-c', refuse, 'sh', ...SCRIPT]);
    expect(await run.code).toBe(7);
    expect(run.output()).toMatch(/cannot show anything here: .*; run as root/);
    expect(run.output()).not.toMatch(/^\s+at /m);
  });
});

describe.skipIf(requires('root', 'userns', 'nft', 'ipv6', 'curl'))('npm start as an ordinary user', () => {
  const user = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];

  test('works in a user namespace', { timeout: 120_000 }, async () => {
    await using run = start([...user, ...SCRIPT]);
    expect(await run.code, run.output()).toBe(0);
    expectSuccess(run.output());
  });

  test('where user namespaces are refused too it says so and ends with 7', { timeout: 60_000 }, async () => {
    const refuse = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"';
    await using run = start(['unshare', '-U', '--keep-caps', 'sh', '-c', refuse, 'sh', ...SCRIPT]);
    expect(await run.code).toBe(7);
    expect(run.output()).toMatch(/not root, and user namespaces are refused here: .*\n.*sysctl -w/);
  });
});
