import { type SavedState, SavedStateError } from "../../saved-state.ts";

/** The registers of the device, as they are kept. */
export interface EduRegisters {
  liveness: bigint;
  factorial: bigint;
  status: bigint;
  irqStatus: bigint;
  source: bigint;
  destination: bigint;
  count: bigint;
  command: bigint;
  pasid: bigint;
  result: bigint;
}

const NAMES: readonly (keyof EduRegisters)[] = [
  "liveness",
  "factorial",
  "status",
  "irqStatus",
  "source",
  "destination",
  "count",
  "command",
  "pasid",
  "result",
];

const VERSION = 1;
const WORD = 8;
const HEAD = NAMES.length * WORD;

export function newRegisters(): EduRegisters {
  return {
    liveness: 0n,
    factorial: 0n,
    status: 0n,
    irqStatus: 0n,
    source: 0n,
    destination: 0n,
    count: 0n,
    command: 0n,
    pasid: 0n,
    result: 0n,
  };
}

/** Version 1: each register in 8 little-endian bytes, in the order above, then the buffer. */
export function saveEdu(registers: EduRegisters, buffer: Uint8Array): SavedState {
  const bytes = new Uint8Array(HEAD + buffer.length);
  const view = new DataView(bytes.buffer);
  for (const [i, name] of NAMES.entries()) view.setBigUint64(i * WORD, registers[name], true);
  bytes.set(buffer, HEAD);
  return { version: VERSION, bytes };
}

/** @throws SavedStateError */
export function readEdu({ version, bytes }: SavedState, bufferSize: number): [EduRegisters, Uint8Array] {
  if (version !== VERSION)
    throw new SavedStateError(`edu: version ${version} of the state is unknown (known: ${VERSION})`);
  if (bytes.length !== HEAD + bufferSize) {
    throw new SavedStateError(
      `edu: the state has ${bytes.length} bytes, ${HEAD + bufferSize} belong to version ${VERSION}`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const registers = newRegisters();
  for (const [i, name] of NAMES.entries()) registers[name] = view.getBigUint64(i * WORD, true);
  return [registers, bytes.subarray(HEAD)];
}
