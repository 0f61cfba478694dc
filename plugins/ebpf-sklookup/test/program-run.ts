/** Runs of the loaded program on invented flows, without any packet: BPF_PROG_TEST_RUN, bpf(2). */
import { addressToBytes, type FlowKey, numberToAddress } from '@weir/core';
import { addressOf, AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP } from '@weir/core/sys';
import { libbpf } from '../src/libbpf.ts';
import type { SkLookup } from '../src/sk-lookup.ts';

/** struct bpf_sk_lookup and struct bpf_test_run_opts of linux/bpf.h and libbpf's bpf.h. */
const CONTEXT_LENGTH = 72;
const OPTIONS_LENGTH = 80;

/** `pass`: left to the kernel. `assign`: given to one of our sockets. */
export type Answer = 'pass' | 'assign' | 'drop';

export function runProgram(program: SkLookup, flow: FlowKey): Answer {
  const context = Buffer.alloc(CONTEXT_LENGTH);
  const bytes = (value: bigint) => addressToBytes(numberToAddress(flow.family, value));
  context.writeUInt32LE(flow.family === 4 ? AF_INET : AF_INET6, 8);
  context.writeUInt32LE(flow.protocol === 'tcp' ? IPPROTO_TCP : IPPROTO_UDP, 12);
  context.set(bytes(flow.source), flow.family === 4 ? 16 : 20);
  context.writeUInt16BE(40_000, 36);
  context.set(bytes(flow.destination), flow.family === 4 ? 40 : 44);
  context.writeUInt32LE(flow.port, 60);
  const result = Buffer.alloc(CONTEXT_LENGTH);
  const options = Buffer.alloc(OPTIONS_LENGTH);
  options.writeBigUInt64LE(BigInt(OPTIONS_LENGTH), 0);
  options.writeBigUInt64LE(addressOf(context), 32);
  options.writeBigUInt64LE(addressOf(result), 40);
  options.writeUInt32LE(CONTEXT_LENGTH, 48);
  options.writeUInt32LE(CONTEXT_LENGTH, 52);
  const error = libbpf().bpf_prog_test_run_opts(program.fd, options);
  if (error < 0) throw new Error(`BPF_PROG_TEST_RUN failed with errno ${-error}`);
  if (options.readUInt32LE(56) === 0) return 'drop';
  // The cookie of the chosen socket.
  return result.readBigUInt64LE(0) === 0n ? 'pass' : 'assign';
}
