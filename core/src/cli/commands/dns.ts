/** `weir dns query` and `weir dns names`: what clients are told, by whom, and which names have which addresses. */
import type { ServedName, ServedQuery } from '../../engine/report.ts';
import type { AnswerRecord } from '../../resolvers/name-report.ts';
import { type CommandContext, type Output, paint, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { limitOf, noteLimit } from '../listing.ts';
import { runningInstance, type RunningOptions } from '../running.ts';
import { table } from '../table.ts';
import { durationText } from '../units.ts';

export interface NamesOptions extends RunningOptions {
  readonly limit?: string;
}

function recordLine({ name, ttl, type, data }: AnswerRecord): string {
  return `${name || '.'}\t${ttl}\t${type}\t${data}\n`;
}

function why({ resolver, pattern, services, name }: ServedQuery): string {
  if (resolver === undefined) return 'nobody could answer: resolver.unanswerable says what a client is told';
  if (resolver !== 'assigned') return `answered by ${resolver}`;
  const who = services.length === 0 ? 'no service' : services.join(', ');
  return `answered by assigned: ${name} matches ${pattern ?? 'no pattern'}, which ${who} named`;
}

/** Exported for tests: the text of one answer. */
export function queryText(output: Output, query: ServedQuery): string {
  const outcome = query.outcome === 'none' ? 'no answer' : query.outcome;
  let text = `${paint(output, 'bold', outcome)}${query.authoritative ? ', authoritative' : ''}, ${query.durationMs} ms\n`;
  text += `${why(query)}\n`;
  text += query.answers.map(recordLine).join('');
  if (query.authority.length > 0) text += `authority:\n${query.authority.map(recordLine).join('')}`;
  return text;
}

/** Exported for tests: the list of names. */
export function nameTable(output: Output, names: readonly ServedName[]): string {
  return table(
    output,
    [
      { title: 'NAME' },
      { title: 'IPV4' },
      { title: 'IPV6' },
      { title: 'PATTERN' },
      { title: 'SERVICES' },
      { title: 'UNUSED FOR', align: 'right' },
      { title: 'NOTE' },
    ],
    names.map((one) => [
      one.name,
      one.ipv4 ?? '-',
      one.ipv6 ?? '-',
      one.pattern ?? '-',
      one.services.join(',') || '-',
      durationText(one.unusedMs),
      noteOf(one),
    ]),
  );
}

function noteOf({ configured, displaced, former, pattern, real }: ServedName): string {
  const notes = [
    ...(configured ? ['configured'] : []),
    ...(pattern === undefined ? ['no longer wanted'] : []),
    ...(displaced ? ['its own address was taken: other hosts may differ'] : []),
    ...(real === undefined ? [] : [`real: ${real.join(', ') || 'not resolved yet'}`]),
    ...(former === undefined ? [] : [`also ${former.join(', ')}`]),
  ];
  return notes.join('; ');
}

export async function dnsQuery(
  context: CommandContext,
  name: string,
  type: string,
  options: RunningOptions,
): Promise<number> {
  const answer = await runningInstance(context, options).query(name, type);
  if (options.json === true) writeJson(context.stdout, answer);
  else context.stdout.write(queryText(context.stdout, answer));
  return EXIT.done;
}

export async function dnsNames(context: CommandContext, options: NamesOptions): Promise<number> {
  const limit = limitOf(options.limit);
  const names = await runningInstance(context, options).names(limit);
  if (options.json === true) writeJson(context.stdout, names);
  else context.stdout.write(names.length === 0 ? 'no name has an address\n' : nameTable(context.stdout, names));
  noteLimit(context, names, limit, 'names');
  return EXIT.done;
}
