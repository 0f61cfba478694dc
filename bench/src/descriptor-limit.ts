/** How many descriptors a program may have here: two for each flow, and a few. */
import { spawnSync } from 'node:child_process';

/** For 50,000 flows, and room. */
const WANTED = 131_072;

const raise = ['prlimit', `--nofile=${WANTED}:${WANTED}`];

function currentLimit(): number {
  const { stdout } = spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' });
  const limit = Number(stdout.trim());
  return Number.isInteger(limit) ? limit : WANTED;
}

const mayRaise = spawnSync(raise[0] ?? '', [...raise.slice(1), 'true']).status === 0;
const hard = mayRaise ? WANTED : currentLimit();

/** Before a command line: the program may have {@link descriptorLimit} descriptors. */
export const manyFiles: readonly string[] = mayRaise ? raise : ['prlimit', `--nofile=${hard}:${hard}`];
export const descriptorLimit = hard;
/** Flows that every candidate can carry at once under that limit. */
export const mostFlows = Math.floor((hard - 1000) / 2);
