/** The compiled BPF program in the repository is the one that its source compiles to. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requires } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { ROOT } from './sources.ts';

/** Sections of a little-endian ELF file of 64 bits, by name. elf(5). */
function sectionsOf(file: string): ReadonlyMap<string, Buffer> {
  const bytes = readFileSync(file);
  const table = Number(bytes.readBigUInt64LE(0x28));
  const [size, count, names] = [bytes.readUInt16LE(0x3a), bytes.readUInt16LE(0x3c), bytes.readUInt16LE(0x3e)];
  const headers = Array.from({ length: count }, (_, index) => bytes.subarray(table + index * size));
  const content = (header: Buffer) => {
    const at = Number(header.readBigUInt64LE(0x18));
    return bytes.subarray(at, at + Number(header.readBigUInt64LE(0x20)));
  };
  const texts = content(headers[names] ?? Buffer.alloc(0));
  return new Map(
    headers.map((header) => {
      const at = header.readUInt32LE(0);
      return [texts.toString('latin1', at, texts.indexOf(0, at)), content(header)] as const;
    }),
  );
}

describe.skipIf(requires('clang'))('bpf/sklookup.bpf.o', () => {
  const directory = join(ROOT, 'plugins/ebpf-sklookup/bpf');

  test('has the instructions and maps that its source compiles to', () => {
    const scratch = mkdtempSync(join(tmpdir(), 'weir-bpf-'));
    try {
      const fresh = join(scratch, 'sklookup.bpf.o');
      execFileSync(join(directory, 'build.sh'), [fresh], {
        encoding: 'utf8',
        env: { ...process.env, LLVM_STRIP: 'true' },
      });
      const [compiled, committed] = [sectionsOf(fresh), sectionsOf(join(directory, 'sklookup.bpf.o'))];
      for (const name of ['sk_lookup', '.maps', 'license']) {
        expect(committed.get(name)?.length, name).toBeGreaterThan(0);
        expect(committed.get(name)?.equals(compiled.get(name) ?? Buffer.alloc(0)), `${name}: run bpf/build.sh`).toBe(
          true,
        );
      }
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });

  test('is small, and holds no path of the machine that compiled it', () => {
    const bytes = readFileSync(join(directory, 'sklookup.bpf.o'));
    expect(bytes.length).toBeLessThan(32 * 1024);
    expect(bytes.toString('latin1')).not.toMatch(/\/(?:work|home|root|tmp)\//);
  });
});
