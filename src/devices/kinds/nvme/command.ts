/** A submission queue entry (NVM Express Base Specification 2.0, figure 88). */
export class Command {
  static readonly SIZE = 64;
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  /** @param bytes 64 of its own */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, Command.SIZE);
  }

  get opcode(): number {
    return this.bytes[0]!;
  }

  /** One of two that are carried out as one. */
  get fuse(): number {
    return this.bytes[1]! & 3;
  }

  /** How the data pointer is to be read: 0 PRP, 1 and 2 SGL. */
  get psdt(): number {
    return this.bytes[1]! >>> 6;
  }

  get id(): number {
    return this.#view.getUint16(2, true);
  }

  get nsid(): number {
    return this.#view.getUint32(4, true);
  }

  get metadata(): bigint {
    return this.#view.getBigUint64(16, true);
  }

  get prp1(): bigint {
    return this.#view.getBigUint64(24, true);
  }

  get prp2(): bigint {
    return this.#view.getBigUint64(32, true);
  }

  /** The data pointer as an SGL descriptor. */
  get sgl(): Uint8Array {
    return this.bytes.subarray(24, 40);
  }

  /** Dword 0..15. */
  dword(number: number): number {
    return this.#view.getUint32(4 * number, true);
  }

  /** Two dwords as one number, the first one low. */
  quadword(number: number): bigint {
    return this.#view.getBigUint64(4 * number, true);
  }
}

/** Opcodes of admin commands. */
export const Admin = {
  deleteSubmissionQueue: 0x00,
  createSubmissionQueue: 0x01,
  getLogPage: 0x02,
  deleteCompletionQueue: 0x04,
  createCompletionQueue: 0x05,
  identify: 0x06,
  abort: 0x08,
  setFeatures: 0x09,
  getFeatures: 0x0a,
  asyncEventRequest: 0x0c,
  namespaceAttachment: 0x15,
  directiveSend: 0x19,
  directiveReceive: 0x1a,
  doorbellBufferConfig: 0x7c,
  formatNvm: 0x80,
} as const;

/** Opcodes of the NVM command set. */
export const Io = {
  flush: 0x00,
  write: 0x01,
  read: 0x02,
  compare: 0x05,
  writeZeroes: 0x08,
  datasetManagement: 0x09,
  verify: 0x0c,
  managementReceive: 0x12,
  copy: 0x19,
  managementSend: 0x1d,
} as const;

const SUPPORTED = 1 << 0;
const CHANGES_CONTENT = 1 << 1;
const CHANGES_INVENTORY = 1 << 3;
const CHANGES_CAPABILITIES = 1 << 4;

/** What the commands that there are do, as the log page of effects has it; the others there are not. */
export const ADMIN_EFFECTS: ReadonlyMap<number, number> = new Map<number, number>([
  ...Object.values(Admin).map((opcode): [number, number] => [opcode, SUPPORTED]),
  [Admin.namespaceAttachment, SUPPORTED | CHANGES_INVENTORY | CHANGES_CAPABILITIES],
  [Admin.formatNvm, SUPPORTED | CHANGES_CONTENT],
]);

const WRITES: readonly number[] = [
  Io.flush,
  Io.write,
  Io.writeZeroes,
  Io.datasetManagement,
  Io.copy,
  Io.managementSend,
];
export const IO_EFFECTS: ReadonlyMap<number, number> = new Map(
  Object.values(Io).map((opcode) => [opcode, SUPPORTED | (WRITES.includes(opcode) ? CHANGES_CONTENT : 0)]),
);

/** All namespaces. */
export const ALL_NAMESPACES = 0xffff_ffff;
