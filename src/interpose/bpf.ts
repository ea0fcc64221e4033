/**
 * Classic BPF as seccomp takes it (linux/filter.h): the few instructions a filter needs, with labels instead of
 * distances.
 */
export const BPF = {
  /** A = the 32 bits of struct seccomp_data at offset k. */
  load: 0x20,
  /** A &= k */
  and: 0x54,
  /** A == k, A >= k, A & k */
  equal: 0x15,
  atLeast: 0x35,
  anyBit: 0x45,
  return: 0x06,
} as const;

export interface Instruction {
  readonly code: number;
  readonly value: number;
  /** Where to go on; left out means to the next instruction. */
  readonly ifTrue?: string | undefined;
  readonly ifFalse?: string | undefined;
}

/** A label (a string) marks the instruction behind it. */
export type Line = string | Instruction;

/** Bytes of one struct sock_filter: code u16, jt u8, jf u8, k u32. */
export const INSTRUCTION_SIZE = 8;

/** The program as the kernel reads it. Throws when a jump leads nowhere, backwards or further than 255 instructions. */
export function assemble(lines: readonly Line[]): Buffer {
  const labels = new Map<string, number>();
  const instructions: Instruction[] = [];
  for (const line of lines) {
    if (typeof line === "string") labels.set(line, instructions.length);
    else instructions.push(line);
  }
  const program = Buffer.alloc(instructions.length * INSTRUCTION_SIZE);
  const view = new DataView(program.buffer, program.byteOffset);
  const distance = (from: number, label: string | undefined) => {
    if (label === undefined) return 0;
    const steps = (labels.get(label) ?? Number.NaN) - from - 1;
    if (!(steps >= 0 && steps <= 255)) throw new RangeError(`no jump from instruction ${from} to "${label}"`);
    return steps;
  };
  for (let index = 0; index < instructions.length; index++) {
    const { code, value, ifTrue, ifFalse } = instructions[index]!;
    const at = index * INSTRUCTION_SIZE;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, distance(index, ifTrue));
    view.setUint8(at + 3, distance(index, ifFalse));
    view.setUint32(at + 4, value, true);
  }
  return program;
}
