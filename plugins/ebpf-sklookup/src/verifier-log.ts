/** What the kernel's verifier says of a program that it refuses: thousands of lines, of which a few matter. */

/** Lines before the verdict that show what led to it. */
const CONTEXT = 4;

const STATISTICS = /^(?:processed \d+ insns|verification time|stack depth|max_states_per_insn)/;
// `12: (61) r8 = *(u32 *)(r6 +64)  ; R6=ctx() …`: only the instruction, without the state of all registers.
const REGISTERS = /\s+; (?:frame\d+: )?R\d.*$|^(\d+: )(?:frame\d+: )?R\d+.*$/;

/**
 * The verdict, with the instruction and the source line that it is about. Empty when the log holds nothing.
 * @param log as the kernel writes it, up to its first zero byte.
 */
export function essentialLines(log: string): readonly string[] {
  const end = log.indexOf('\0');
  const lines = (end < 0 ? log : log.slice(0, end)).split('\n').map((line) => line.replace(REGISTERS, '$1').trim());
  const said = lines.filter((line) => line !== '' && !/^\d+:$/.test(line) && !STATISTICS.test(line));
  return said.slice(-CONTEXT - 1);
}
