import { TCP_FORWARD_CASES, TCP_OUTPUT_CASES, UDP_FORWARD_CASES, UDP_OUTPUT_CASES } from '@weir/core/testing';
import { tun } from '@weir/tun';
import { mustHold } from './held.ts';

const LISTS = {
  tcp: TCP_OUTPUT_CASES,
  udp: UDP_OUTPUT_CASES,
  'tcp forwarded': TCP_FORWARD_CASES,
  'udp forwarded': UDP_FORWARD_CASES,
};

mustHold(tun, { interceptor: 'tun', needsForwarding: true }, LISTS, ['tun']);
