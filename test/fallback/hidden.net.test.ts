/** `auto` where members of the chain cannot work: the next one is taken, and the report says why, in all its forms. */
import type { SelectionReport } from '@weir/core';
import { requires, WeirProcess, weirCommand } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { CHAIN, GROUPS, hide, LISTENER, outcomes, Scene, TRANSPARENT } from './chain.ts';

/** What every log line has. */
interface LogLine {
  readonly level: number;
  readonly time: number;
  readonly pid: number;
  readonly msg: string;
  readonly event: string;
}

/** The log line of the selection. */
function logged(stderr: string): SelectionReport {
  const lines = stderr.split('\n').filter((line) => line.includes('"event":"selection"'));
  expect(lines).toHaveLength(1);
  const { level, time, pid, msg, event, ...report } = JSON.parse(lines[0] ?? '') as SelectionReport & LogLine;
  expect([level, event]).toEqual([30, 'selection']);
  expect(time).toBeGreaterThan(0);
  expect(pid).toBeGreaterThan(0);
  expect(msg).toBe(`selection: ${outcomes(report)}`);
  return report;
}

describe.skipIf(requires('namespaces', 'root', 'curl', ...GROUPS))('auto', () => {
  const ids = CHAIN.map(({ id }) => id);

  test.each(ids.map((id, place) => [id, ids.slice(0, place)] as const))(
    'takes %s with %j hidden',
    async (id, before) => {
      await using scene = await Scene.create();
      const state = await scene.host.state();
      await using weir = await scene.start(hide(before));
      const { selection } = await weir.admin.status();
      expect(outcomes(selection)).toBe(
        [...before.map((one) => `${one} unsupported`), `${id} selected`]
          .concat(ids.slice(before.length + 1).map((one) => `${one} not-tried`))
          .join(', '),
      );
      expect(selection.transparent).toBe(TRANSPARENT.includes(id));
      expect(await scene.answers(TRANSPARENT.includes(id) ? undefined : `http://${LISTENER}/`)).toBe('upstream');

      // One report, told in four ways.
      expect(JSON.parse(weir.process.stdout)).toEqual(selection);
      expect(logged(weir.process.stderr)).toEqual(selection);
      const status = await weir.command('status', '--json');
      expect((JSON.parse(status.stdout) as { selection: SelectionReport }).selection).toEqual(selection);
      const table = (await weir.command('status')).stdout;
      for (const { interceptor, outcome, reason } of selection.entries) {
        const row = table.split('\n').find((line) => line.startsWith(`${interceptor} `));
        expect(row).toContain(outcome);
        expect(row).toContain(reason);
      }

      for (const one of before) expect(weir.process.stderr).toContain(`${one} initialization failed: needs `);
      expect(weir.process.stderr).toContain(`using ${id} interceptor`);
      expect((await weir.stop()).code).toBe(0);
      expect(await scene.host.state()).toBe(state);
    },
  );

  test('with nothing left that is transparent, as required: exit 3 and the whole table with remedies', async () => {
    await using scene = await Scene.create();
    const state = await scene.host.state();
    await using weir = WeirProcess.launch(scene.host, {
      config: scene.configuration(),
      args: ['--require', 'transparent', '--json'],
      env: hide(TRANSPARENT),
    });
    expect((await weir.process.waitForExit(30_000)).code).toBe(3);
    const { stdout, stderr } = weir.process;
    const report = JSON.parse(stdout) as SelectionReport;
    expect(report.selected).toBeUndefined();
    expect(outcomes(report)).toBe([...TRANSPARENT.map((id) => `${id} unsupported`), 'proxy not-suitable'].join(', '));
    expect(logged(stderr)).toEqual(report);
    for (const { interceptor, outcome, missing } of report.entries) {
      const row = stderr.split('\n').find((line) => line.startsWith(`${interceptor} `));
      expect(row).toContain(outcome);
      for (const { name, remedy } of missing) expect(row).toContain(`${name}: ${remedy}`);
      expect(missing.length > 0 || interceptor === 'proxy').toBe(true);
    }
    expect(stderr).toContain('weir: No interceptor could start: ');
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/^Follow the remedies of the selection report/);
    expect(await scene.host.state()).toBe(state);
    expect(weir.leftInStateDirectory()).toEqual([]);
  });

  test('a named interceptor never falls back; a list goes on within itself only', async () => {
    await using scene = await Scene.create();
    const run = async (interceptor: string, hidden: readonly string[]) => {
      await using weir = WeirProcess.launch(scene.host, {
        config: scene.configuration(),
        args: ['--interceptor', interceptor, '--json'],
        env: hide(hidden),
      });
      if (!(await weir.running())) {
        expect(weir.process.exit?.code).toBe(3);
        return outcomes(JSON.parse(weir.process.stdout) as SelectionReport);
      }
      return outcomes((await weir.admin.status()).selection);
    };
    expect(await run('nft', ['nft'])).toBe('nft unsupported');
    expect(await run('proxy,nft', ['nft'])).toBe('proxy selected, nft not-tried');
    expect(await run('nft,proxy', TRANSPARENT)).toBe('nft unsupported, proxy selected');
  });

  test('ends with exit 3 where no service has a listener, and says so', async () => {
    await using scene = await Scene.create();
    const { services, ...rest } = scene.configuration();
    const config = { ...rest, services: (services as readonly object[]).map((one) => ({ ...one, listen: undefined })) };
    await using weir = WeirProcess.launch(scene.host, { config, env: hide(TRANSPARENT), command: weirCommand() });
    expect((await weir.process.waitForExit(30_000)).code).toBe(3);
    expect(weir.process.stderr).toMatch(
      /^proxy +not-suitable +it captures nothing by itself, and no service has `listen:`$/m,
    );
  });
});
