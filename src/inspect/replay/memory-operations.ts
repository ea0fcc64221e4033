import { PROT_READ, PROT_WRITE } from "../../kernel/model-areas.ts";
import { viewOf } from "../../uapi/layout.ts";
import type { Answer, Handlers } from "./answer.ts";
import type { OperationOf } from "./operation.ts";
import { DONE, fromHex, outcomeOfVoid, toHex } from "./outcome.ts";
import { POLLS, type ReplayedProgram } from "./program.ts";

/** Reads and writes of memory, and of registers that are mapped there. */
export function memoryOperations(program: ReplayedProgram) {
  return {
    fill: (o) => fill(program, o),
    dump: (o) => ({ ...DONE, bytes: toHex(program.read(program.at(o), o.len)) }),
    store: (o) => store(program, o),
    put: (o) => put(program, o),
    poll64: (o) => poll(program, o),
    r32: (o) => readWord(program, o, 4),
    r64: (o) => readWord(program, o, 8),
    w8: (o) => writeWord(program, o, 1),
    w16: (o) => writeWord(program, o, 2),
    w32: (o) => writeWord(program, o, 4),
    w64: (o) => writeWord(program, o, 8),
  } satisfies Partial<Handlers>;
}

function fill(program: ReplayedProgram, o: OperationOf<"fill">): Answer {
  const bytes = new Uint8Array(o.len);
  if (o.byte === "seq") for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7 + (i >> 8)) & 0xff;
  else bytes.fill(Number(o.byte));
  program.memory.copyOut(program.at(o), bytes, bytes.length);
  return DONE;
}

function put(program: ReplayedProgram, o: OperationOf<"put">): Answer {
  const bytes = fromHex(o.in);
  program.memory.copyOut(program.at(o), bytes, bytes.length);
  return DONE;
}

function readWord(program: ReplayedProgram, o: OperationOf<"r32" | "r64">, width: 4 | 8): Answer {
  const { device } = program.buffer(o.buf);
  device?.file.adopt(device.offset + Number(o.off ?? 0), registerValue(program, BigInt(o.value), width));
  const word = program.view(program.read(program.at(o), width));
  const value = width === 4 ? BigInt(word.u32(0)) : word.u64(0);
  return { ...DONE, value: `0x${value.toString(16)}` };
}

/** The value of a device's register, which is little-endian, from what the processor read. */
function registerValue({ littleEndian }: ReplayedProgram, value: bigint, width: 4 | 8): bigint {
  if (littleEndian) return value;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value << BigInt(8 * (8 - width)));
  return viewOf(bytes).getBigUint64(0, true);
}

function writeWord(
  program: ReplayedProgram,
  o: OperationOf<"w8" | "w16" | "w32" | "w64">,
  width: 1 | 2 | 4 | 8,
): Answer {
  const bytes = new Uint8Array(8);
  program.view(bytes).setU64(0, BigInt(o.value));
  program.memory.copyOut(program.at(o), program.littleEndian ? bytes : bytes.subarray(8 - width), width);
  return DONE;
}

function poll(program: ReplayedProgram, o: OperationOf<"poll64">): Answer {
  const mask = BigInt(o.mask);
  const want = BigInt(o.want);
  for (let i = 0; i < POLLS; i++) {
    const value = program.view(program.read(program.at(o), 8)).u64(0);
    if ((value & mask) === want) return { ...DONE, ok: true };
    program.pass(o.ok !== false);
  }
  return { ...DONE, ok: false };
}

/** Bytes that the program or somebody else had put there, whatever the program itself may write. */
function store(program: ReplayedProgram, o: OperationOf<"store">): undefined {
  const { memory } = program;
  const bytes = fromHex(o.in);
  const at = program.at(o);
  if (outcomeOfVoid(() => memory.copyOut(at, bytes, bytes.length)).errno === null) return;
  const { pageSize } = memory;
  const start = at - (at % pageSize);
  const length = at + bytes.length - start;
  memory.mprotect(start, length, PROT_READ | PROT_WRITE);
  memory.copyOut(at, bytes, bytes.length);
  memory.mprotect(start, length, PROT_READ);
}
