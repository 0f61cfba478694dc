/** Whether this machine can run the sk_lookup interceptor. Loads the program without attaching it. */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { type MissingRequirement, NotPermittedError, type ProbeResult, UnsupportedError, WeirError } from '@weir/core';
import { hasCapability, libc, openTun } from '@weir/core/sys';
import { libbpf } from './libbpf.ts';
import { namespaceTakesPrograms, SkLookup } from './sk-lookup.ts';

const OTHER = 'or use another interceptor';

function missing(kind: MissingRequirement['kind'], name: string, remedy: string): MissingRequirement {
  return { kind, name, remedy };
}

/** The user namespace that the machine booted with maps every id to itself. user_namespaces(7). */
function inUserNamespace(): boolean {
  try {
    return !/^\s*0\s+0\s+4294967295\s*$/m.test(readFileSync('/proc/self/uid_map', 'utf8'));
  } catch {
    return false;
  }
}

function isOlderThan(text: string, major: number, minor: number): boolean {
  const [, a = '0', b = '0'] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  return Number(a) < major || (Number(a) === major && Number(b) < minor);
}

function lackingCapabilities(): readonly MissingRequirement[] {
  if (inUserNamespace()) {
    const remedy = `Run Weir outside of the user namespace (as root, or with CAP_BPF and CAP_NET_ADMIN), ${OTHER}.`;
    return [missing('capability', 'CAP_BPF outside of a user namespace', remedy)];
  }
  const remedy = 'Run Weir as root, or give it CAP_BPF and CAP_NET_ADMIN (setcap, systemd AmbientCapabilities).';
  const lacking: MissingRequirement[] = [];
  // Before 5.8 there was no CAP_BPF, and CAP_SYS_ADMIN still stands for it.
  if (!hasCapability('CAP_BPF') && !hasCapability('CAP_SYS_ADMIN')) {
    lacking.push(missing('capability', 'CAP_BPF', remedy));
  }
  if (!hasCapability('CAP_NET_ADMIN')) lacking.push(missing('capability', 'CAP_NET_ADMIN', remedy));
  return lacking;
}

function lackingParts(): readonly MissingRequirement[] {
  const lacking: MissingRequirement[] = [];
  if (isOlderThan(release(), 5, 9)) {
    lacking.push(missing('kernel', `Linux 5.9 (this is ${release()})`, `Use a newer kernel, ${OTHER}.`));
  }
  try {
    libbpf();
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    lacking.push(missing('library', 'libbpf.so.1', error.remedy));
  }
  lacking.push(...lackingCapabilities());
  try {
    libc.close(openTun());
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    lacking.push(missing('device', '/dev/net/tun', error.remedy));
  }
  return lacking;
}

function tryProgram(): ProbeResult {
  using _program = new SkLookup();
  if (!namespaceTakesPrograms()) {
    return {
      verdict: 'unsupported',
      missing: [missing('kernel', 'sk_lookup links of network namespaces', `Use Linux 5.9 or newer, ${OTHER}.`)],
    };
  }
  return { verdict: 'supported', facts: { libbpf: libbpf().libbpf_version_string().replace(/^v/, '') } };
}

/** @returns what is missing, with the way to get it. Changes nothing. */
export function probe(): ProbeResult {
  const lacking = lackingParts();
  if (lacking.length > 0) return { verdict: 'unsupported', missing: lacking };
  try {
    return tryProgram();
  } catch (error) {
    if (error instanceof NotPermittedError) {
      return { verdict: 'unsupported', missing: [missing('capability', 'bpf(2)', error.remedy)] };
    }
    if (error instanceof UnsupportedError) {
      return { verdict: 'unsupported', missing: [missing('kernel', error.problem.replace(/\.$/, ''), error.remedy)] };
    }
    if (error instanceof WeirError) return { verdict: 'inconclusive', cause: error.problem };
    throw error;
  }
}
