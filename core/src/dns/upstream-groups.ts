/** Which upstreams are asked for a name: those whose `for` list has the longest suffix of it, else those without a list. */
import type { UpstreamConfiguration } from '../config/model.ts';

/** True for the suffix itself and for all names below it. */
export function isBelow(name: string, suffix: string): boolean {
  return name === suffix || name.endsWith(`.${suffix}`);
}

export interface UpstreamGroup {
  readonly servers: readonly UpstreamConfiguration[];
  /** What the servers were chosen by; absent: they are those for all names. */
  readonly suffix?: string;
}

/** @param name lower case, without trailing dot. */
export function groupFor(servers: readonly UpstreamConfiguration[], name: string): UpstreamGroup {
  let suffix: string | undefined;
  for (const { suffixes = [] } of servers) {
    for (const one of suffixes) {
      if (isBelow(name, one) && (suffix === undefined || one.length > suffix.length)) suffix = one;
    }
  }
  const chosen = suffix;
  if (chosen === undefined) return { servers: servers.filter((server) => server.suffixes === undefined) };
  return { servers: servers.filter((server) => server.suffixes?.includes(chosen) === true), suffix: chosen };
}
