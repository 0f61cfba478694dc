/**
 * What a peer without counters of its own has carried, by what the kernel counts in its client host anyhow, at no cost: the
 * connections that were accepted there, and the bytes that crossed both legs, from the client to the peer over the loopback
 * device and from the peer to the server over the link. A client that reaches the server without the peer is accepted by
 * nobody in this host and crosses no loopback device.
 */
import { readFileSync } from 'node:fs';
import type { TestHost } from '@weir/core/testing';
import type { Carried } from '../candidate.ts';

/** A field of a protocol in proc/net/snmp: one line of names, one of values. */
function snmp(text: string, protocol: string, field: string): number {
  const [names = [], values = []] = text
    .split('\n')
    .filter((line) => line.startsWith(`${protocol}:`))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf(field)]);
}

/** proc/net/dev: after the name 8 fields of receiving, then 8 of sending; bytes come first. */
function deviceBytes(text: string, device: string): { readonly received: number; readonly sent: number } {
  const line = text.split('\n').find((each) => each.trimStart().startsWith(`${device}:`)) ?? '';
  const fields = line
    .slice(line.indexOf(':') + 1)
    .trim()
    .split(/\s+/)
    .map(Number);
  return { received: fields[0] ?? 0, sent: fields[8] ?? 0 };
}

export function carriedByHost(client: TestHost): Carried {
  const read = (file: string) => readFileSync(`/proc/${client.pid}/net/${file}`, 'utf8');
  const [protocols, devices] = [read('snmp'), read('dev')];
  const link = deviceBytes(devices, 'eth0');
  return {
    flows: snmp(protocols, 'Tcp', 'PassiveOpens'),
    bytes: Math.min(deviceBytes(devices, 'lo').received, link.received + link.sent),
  };
}
