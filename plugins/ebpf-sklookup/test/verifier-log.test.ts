import { expect, test } from 'vitest';
import { essentialLines } from '../src/verifier-log.ts';

const LOG = `0: R1=ctx() R10=fp0
; int weir(struct bpf_sk_lookup *ctx) @ sklookup.bpf.c:271
0: (bf) r6 = r1                       ; R1=ctx() R6=ctx()
; return ctx->remote_ip4 == set->own4; @ sklookup.bpf.c:211
24: (bf) r1 = r6                      ; R1=ctx() R6=ctx()
25: (07) r1 += 16                     ; R1=ctx(off=16)
;  @ sklookup.bpf.c:0
26: (61) r2 = *(u32 *)(r0 +0)         ; R0=map_value(map=settings,ks=4,vs=20) R2=scalar(smin=0)
27: (61) r3 = *(u32 *)(r1 +0)
dereference of modified ctx ptr R1 off=16 disallowed
processed 29 insns (limit 1000000) max_states_per_insn 0 total_states 2 peak_states 2 mark_read 0
\0\0\0`;

test('the verdict, what led to it and the source line, without the state of the registers', () => {
  const lines = essentialLines(LOG);
  expect(lines.at(-1)).toBe('dereference of modified ctx ptr R1 off=16 disallowed');
  expect(lines).toContain('27: (61) r3 = *(u32 *)(r1 +0)');
  expect(lines.join('\n')).not.toMatch(/scalar|processed|\0/);
  expect(lines.length).toBeLessThanOrEqual(5);
});

test('a short log is told whole, and none is none', () => {
  expect(essentialLines('BTF is wrong\n')).toEqual(['BTF is wrong']);
  expect(essentialLines('')).toEqual([]);
  expect(essentialLines('\0\0')).toEqual([]);
});
