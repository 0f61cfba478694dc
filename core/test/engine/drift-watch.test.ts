/** What is logged and told of drift, and how often. */
import { describe, expect, test } from 'vitest';
import type { Drift } from '../../src/api/interceptor.ts';
import type { Logger } from '../../src/api/logger.ts';
import { DriftWatch } from '../../src/engine/drift-watch.ts';
import type { DriftEvent } from '../../src/engine/events.ts';

const LINK: Drift = { object: '/etc/resolv.conf', expected: 'written by Weir', found: 'no regular file' };
const RULE: Drift = { object: 'rule 100', expected: 'there', found: 'nothing' };

/** A host whose drift and whose obstacle to a repair the test sets. */
class Scene {
  readonly lines: string[] = [];
  readonly events: DriftEvent['outcome'][] = [];
  drift: readonly Drift[] = [];
  obstacle: string | undefined;
  readonly #watch: DriftWatch;

  constructor() {
    const say = (level: string) => (fields: object, message: string) => {
      this.lines.push(`${level} ${message}${'reason' in fields ? `: ${String(fields.reason)}` : ''}`);
    };
    const log: Logger = {
      warn: say('warn'),
      error: say('error'),
      info: say('info'),
      debug: say('debug'),
      child: () => log,
    };
    this.#watch = new DriftWatch({
      subjects: [
        {
          verify: () => Promise.resolve(this.drift),
          repair: () => (this.obstacle === undefined ? Promise.resolve() : Promise.reject(new Error(this.obstacle))),
        },
      ],
      policy: 'repair',
      log,
      told: ({ outcome }) => this.events.push(outcome),
      fatal: (error) => this.lines.push(`fatal ${error.message}`),
    });
  }

  /** @returns what was logged by so many looks. */
  async look(times: number): Promise<readonly string[]> {
    for (let look = 0; look < times; look++) await this.#watch.look(new AbortController().signal);
    return this.lines.splice(0);
  }

  get report() {
    return this.#watch.report();
  }
}

const FOUND = 'warn somebody changed what Weir had set';
const failed = (reason: string): string => `error looking for drift failed: ${reason}`;

describe('drift that cannot be mended', () => {
  test('is logged once, again when it changes, and counted at every look', async () => {
    const scene = new Scene();
    scene.drift = [LINK];
    scene.obstacle = 'it is a link';
    expect(await scene.look(5)).toEqual([FOUND, failed('it is a link')]);
    expect(scene.report).toEqual({ found: 5, repaired: 0, last: [LINK] });
    expect(scene.events).toEqual(['repair-failed']);
    scene.obstacle = 'it does not exist';
    expect(await scene.look(3)).toEqual([failed('it does not exist')]);
    scene.drift = [LINK, RULE];
    expect(await scene.look(3)).toEqual([FOUND, failed('it does not exist')]);
    expect(scene.events).toEqual(['repair-failed', 'repair-failed', 'repair-failed']);
    expect(scene.report).toMatchObject({ found: 14, repaired: 0 });
  });

  test('is logged anew when it comes back after it was mended or went away', async () => {
    const scene = new Scene();
    scene.drift = [LINK];
    scene.obstacle = 'it is a link';
    await scene.look(2);
    scene.obstacle = undefined;
    expect(await scene.look(1)).toEqual(['info drift repaired']);
    scene.obstacle = 'it is a link';
    expect(await scene.look(2)).toEqual([FOUND, failed('it is a link')]);
    scene.drift = [];
    expect(await scene.look(2)).toEqual(['info what Weir had set is there again']);
    scene.drift = [LINK];
    expect(await scene.look(2)).toEqual([FOUND, failed('it is a link')]);
    expect(scene.report).toMatchObject({ repaired: 1 });
  });
});

test('drift that is mended each time is logged each time', async () => {
  const scene = new Scene();
  scene.drift = [RULE];
  expect(await scene.look(2)).toEqual([FOUND, 'info drift repaired', FOUND, 'info drift repaired']);
  expect(scene.events).toEqual(['repaired', 'repaired']);
});
