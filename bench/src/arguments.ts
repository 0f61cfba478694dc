/** The command line of the benchmark. */
import { UsageError } from '@weir/core';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ALL_OF_WEIR, PEERS, QUICK_OF_WEIR } from './candidates/catalogue.ts';

export const USAGE = `npm run bench [-- options]

  --quick               the measures that say most, in under five minutes; else all, in under forty
  --interceptor A,B     Weir's backends, some with a variant behind + (default with --quick ${QUICK_OF_WEIR.join(',')}, else
                        ${ALL_OF_WEIR.join(',')})
  --peers A,B           other programs, where they are installed (default ${[...PEERS.keys()].join(',')}; none: no peers)
  --only A,B            only these measures
  --against DIRECTORY   the build of another checkout of Weir as one more row
  --rounds N            default 5
  --seconds N           of one measurement, whole seconds (default 1)
  --minutes N           no further round begins that would not end by then (default 5 with --quick, else 40)
  --seed N              order of candidates and measures (default random, printed)
  --json FILE           the result; default bench/results/<time>.json
  --scale               what flows, services, workers and packet sizes cost, instead of a comparison
  --render docs|html    no measurement: the tables and the chart of docs/, or a page, from --json FILE (default
                        docs/performance.json); docs makes FILE the committed result
  --micro               only the micro benchmarks, without private hosts`;

export interface BenchArguments {
  readonly help: boolean;
  readonly micro: boolean;
  readonly scale: boolean;
  readonly render: 'docs' | 'html' | undefined;
  readonly quick: boolean;
  readonly interceptors: readonly string[];
  readonly peers: readonly string[];
  readonly only: readonly string[] | undefined;
  readonly against: string | undefined;
  readonly rounds: number;
  readonly seconds: number;
  readonly minutes: number;
  readonly seed: number;
  readonly json: string | undefined;
}

const list = (text: string): readonly string[] =>
  text
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '' && each !== 'none');

function whole(name: string, text: string | undefined, otherwise: number, most: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
  throw new UsageError({
    problem: `--${name} ${text} is no whole number.`,
    remedy: `Give one from 1 to ${most}.`,
  });
}

function reportNamed(name: string | undefined): 'docs' | 'html' | undefined {
  if (name === undefined || name === 'docs' || name === 'html') return name;
  throw new UsageError({ problem: `The benchmark has no report --render ${name}.`, remedy: 'Give docs or html.' });
}

/** @throws UsageError for options that do not exist and values that make no sense. */
export function parseArguments(argv: readonly string[], random: () => number = Math.random): BenchArguments {
  const options = {
    help: { type: 'boolean', short: 'h', default: false },
    quick: { type: 'boolean', default: false },
    micro: { type: 'boolean', default: false },
    scale: { type: 'boolean', default: false },
    render: { type: 'string' },
    interceptor: { type: 'string' },
    peers: { type: 'string', default: [...PEERS.keys()].join(',') },
    only: { type: 'string' },
    against: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    minutes: { type: 'string' },
    seed: { type: 'string' },
    json: { type: 'string' },
  } as const;
  let values;
  try {
    ({ values } = parseArgs({ args: [...argv], options }));
  } catch (error) {
    throw new UsageError({
      problem: error instanceof Error ? error.message : String(error),
      remedy: 'npm run bench -- --help lists the options.',
      cause: error,
    });
  }
  return {
    help: values.help,
    micro: values.micro,
    scale: values.scale,
    render: reportNamed(values.render),
    quick: values.quick,
    interceptors:
      values.interceptor === undefined ? (values.quick ? QUICK_OF_WEIR : ALL_OF_WEIR) : list(values.interceptor),
    peers: list(values.peers),
    only: values.only === undefined ? undefined : list(values.only),
    against: values.against === undefined ? undefined : resolve(values.against),
    rounds: whole('rounds', values.rounds, 5, 1000),
    seconds: whole('seconds', values.seconds, 1, 600),
    minutes: whole('minutes', values.minutes, values.quick ? 5 : 40, 1440),
    seed: whole('seed', values.seed, 1 + Math.floor(random() * 0xfffffffe), 0xffffffff),
    json: values.json,
  };
}

const RESULTS = fileURLToPath(new URL('../results', import.meta.url));

/** Where a result is written. `startedAt` is in ISO 8601. */
export const resultFile = ({ json }: BenchArguments, startedAt: string): string =>
  json ?? join(RESULTS, `${startedAt.replaceAll(':', '-')}.json`);
