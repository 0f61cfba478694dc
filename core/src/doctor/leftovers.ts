/** Check `leftovers`: what instances have left that do not run any more. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Family } from '../api/flow.ts';
import { RESOLV_CONF } from '../dns/resolv-conf-claim.ts';
import { authorOf } from '../dns/resolv-conf.ts';
import { isLocked } from '../host/lock.ts';
import { numbersOf, orphanSlots } from '../host/numbers.ts';
import { knownOwners, stateDirectory } from '../host/state-directory.ts';
import { NETLINK_ROUTE } from '../sys/netlink/constants.ts';
import { listRoutes } from '../sys/netlink/route.ts';
import { formatRule, listRules } from '../sys/netlink/rule.ts';
import { NetlinkSocket } from '../sys/netlink/socket.ts';
import type { DoctorContext } from './context.ts';
import { fine, type Finding } from './report.ts';

const CHECK = 'leftovers';
const FAMILIES: readonly Family[] = [4, 6];

/** Owners of this network namespace whose process lives. */
export function livingOwners(): ReadonlySet<string> {
  return new Set(knownOwners().filter((owner) => isLocked(join(stateDirectory(owner), 'lock'))));
}

function left(what: string, owner: string | undefined): Finding {
  const command = owner === undefined ? 'weir cleanup' : `weir cleanup --owner ${owner}`;
  return { check: CHECK, severity: 'problem', what, remedy: 'Have it removed.', command };
}

/** Rules and routes with Weir's protocol id and the numbers of a slot that nobody holds. */
function orphans(): readonly string[] {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const blocks = orphanSlots('').map((slot) => numbersOf(slot));
  const found: string[] = [];
  for (const family of FAMILIES) {
    const ip = family === 6 ? 'ip -6' : 'ip';
    for (const rule of listRules(socket, family)) {
      const ours = blocks.some(
        ({ protocolId, preference, preferenceBehindMain }) =>
          rule.protocol === protocolId &&
          ((rule.preference >= preference && rule.preference < preference + 16) ||
            rule.preference === preferenceBehindMain),
      );
      if (ours) found.push(`${ip} rule ${formatRule(rule)}`);
    }
    const tables = new Set<number>();
    for (const route of listRoutes(socket, family)) {
      if (blocks.some((b) => route.protocol === b.protocolId && route.table >= b.table && route.table < b.table + 16)) {
        tables.add(route.table);
      }
    }
    for (const table of tables) found.push(`${ip} route table ${table}`);
  }
  return found;
}

function resolvConfAuthor(): string | undefined {
  try {
    return authorOf(readFileSync(RESOLV_CONF, 'latin1'))?.owner;
  } catch {
    return undefined;
  }
}

export function checkLeftovers({ living, firewall }: Pick<DoctorContext, 'living' | 'firewall'>): readonly Finding[] {
  const findings: Finding[] = [];
  const dead = knownOwners().filter((owner) => !living.has(owner) && existsSync(stateDirectory(owner)));
  for (const owner of dead) {
    findings.push(
      left(`the instance ${owner} has ended without an orderly stop; ${stateDirectory(owner)} is left`, owner),
    );
  }
  const told = new Set(dead);
  for (const owner of firewall.owners) {
    if (living.has(owner) || told.has(owner) || owner.startsWith('#')) continue;
    told.add(owner);
    findings.push(left(`packet filter rules of the owner ${owner} are left, who does not run`, owner));
  }
  const author = resolvConfAuthor();
  if (author !== undefined && !living.has(author) && !told.has(author)) {
    told.add(author);
    findings.push(left(`${RESOLV_CONF} still leads to the instance ${author}, which does not run`, author));
  }
  const objects = orphans();
  if (objects.length > 0 && told.size === 0) {
    findings.push(left(`rules and routes of an instance that does not run are left: ${objects.join('; ')}`, undefined));
  }
  return findings.length > 0 ? findings : [fine(CHECK, 'nothing is left of instances that have ended')];
}
