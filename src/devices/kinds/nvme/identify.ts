import { ADMIN_EFFECTS, IO_EFFECTS } from "./command.ts";
import { type ControllerFacts, MOST_NAMESPACES } from "./facts.ts";
import { WARNING_TEMPERATURE } from "./features.ts";
import { FORMATS, type Namespace } from "./namespace.ts";
import { COMPLETION_SHIFT, SUBMISSION_SHIFT, VERSION } from "./registers.ts";

/**
 * Data structures of Identify (NVM Express Base Specification 2.0, 5.17.2), with what QEMU's controller says of itself.
 */

export const IDENTIFY_SIZE = 4096;

const MODEL = "QEMU NVMe Ctrl";
const FIRMWARE = "10.0.13";
const CRITICAL_TEMPERATURE = 0x175;
/** 52:54:00, low byte first. */
const IEEE = [0x00, 0x54, 0x52] as const;
/** Entries of a copy command, and of a range, where there are any. */
const COPY = { rangeBlocks: 128, allBlocks: 128, ranges: 127 } as const;
/** The most ranges of one dataset management command, and the blocks of one range in bytes. */
const DISCARD_RANGES = 255;
const DISCARD_BYTES = 0x7fff_fe00;
/** Pages of 4 KiB that one Verify looks at, as a power of two. */
export const VERIFY_SHIFT = 7;

const IDENTIFIER_EUI64 = 1;
const IDENTIFIER_UUID = 3;
const IDENTIFIER_COMMAND_SET = 4;

function structure(): { readonly bytes: Uint8Array; readonly view: DataView } {
  const bytes = new Uint8Array(IDENTIFY_SIZE);
  return { bytes, view: new DataView(bytes.buffer) };
}

function put(bytes: Uint8Array, offset: number, length: number, text: string): void {
  bytes.set(Buffer.from(text.padEnd(length, " ").slice(0, length), "latin1"), offset);
}

export function controllerData(facts: ControllerFacts): Uint8Array {
  const { bytes, view } = structure();
  view.setUint16(0, facts.vendor, true);
  view.setUint16(2, facts.subsystemVendor, true);
  put(bytes, 4, 20, facts.serial);
  put(bytes, 24, 40, MODEL);
  put(bytes, 64, 8, FIRMWARE);
  bytes[72] = 6; // RAB
  bytes.set(IEEE, 73);
  bytes[77] = facts.transferShift;
  view.setUint32(80, VERSION, true);
  view.setUint32(92, 1 << 8, true); // OAES: namespace attributes
  view.setUint32(96, 1 << 15, true); // CTRATT: extended LBA formats
  bytes[111] = 1; // CNTRLTYPE: I/O
  view.setUint16(256, 0x12a, true); // OACS: format, namespace management, directives, doorbell buffer
  bytes[258] = 3; // ACL
  bytes[259] = facts.eventRequests - 1;
  bytes[260] = 3; // FRMW: one slot, read-only
  bytes[261] = 7; // LPA: SMART per namespace, effects, extended data
  view.setUint16(266, WARNING_TEMPERATURE, true);
  view.setUint16(268, CRITICAL_TEMPERATURE, true);
  bytes[512] = (SUBMISSION_SHIFT << 4) | SUBMISSION_SHIFT;
  bytes[513] = (COMPLETION_SHIFT << 4) | COMPLETION_SHIFT;
  view.setUint32(516, MOST_NAMESPACES, true);
  view.setUint16(520, 0x75d, true); // ONCS
  bytes[525] = 7; // VWC: there is one; Flush of all namespaces
  view.setUint16(534, 0xf, true); // OCFS
  view.setUint32(536, 0x8_0001, true); // SGLS: any alignment; metadata pointers too
  bytes.set(Buffer.from(`nqn.2019-08.org.qemu:${facts.serial}`, "latin1"), 768);
  view.setUint16(2048, 0x9c4, true); // PSD0: power, latencies
  view.setUint32(2052, 0x10, true);
  view.setUint32(2056, 4, true);
  return bytes;
}

/** Of the NVM command set (CNS 6). */
export function controllerCommandSetData(namespaces: readonly Namespace[]): Uint8Array {
  const { bytes, view } = structure();
  bytes[0] = VERIFY_SHIFT;
  bytes[3] = DISCARD_RANGES;
  const blocks = discardLimit(namespaces);
  view.setUint32(4, blocks, true);
  view.setBigUint64(8, BigInt(DISCARD_RANGES) * BigInt(blocks), true);
  return bytes;
}

/** The most blocks of one range of dataset management. */
export function discardLimit(namespaces: readonly Namespace[]): number {
  return Math.min(...namespaces.map(({ blockSize }) => Math.floor(DISCARD_BYTES / blockSize)), DISCARD_BYTES);
}

export function namespaceData(namespace: Namespace): Uint8Array {
  const { bytes, view } = structure();
  const size = BigInt(namespace.blocks);
  for (const offset of [0, 8, 16]) view.setBigUint64(offset, size, true); // NSZE, NCAP, NUSE
  bytes[24] = 0x34; // NSFEAT: deallocated blocks can be errors, hints for performance
  bytes[25] = FORMATS.length - 1;
  bytes[26] = namespace.format | (namespace.isExtended ? 1 << 4 : 0);
  bytes[27] = 3; // MC: metadata with the data, or apart
  bytes[28] = 0x1f; // DPC
  bytes[29] = namespace.protectsFirst ? 1 << 3 : 0; // DPS
  bytes[30] = namespace.isShared ? 1 : 0; // NMIC
  bytes[33] = 9; // DLFEAT: deallocated blocks are zeros
  view.setUint16(68, namespace.granularity, true); // NPDG, NPDA
  view.setUint16(70, namespace.granularity, true);
  if (namespace.isShared) {
    view.setUint16(74, COPY.rangeBlocks, true);
    view.setUint32(76, COPY.allBlocks, true);
    bytes[80] = COPY.ranges;
    view.setUint16(102, 1, true); // ENDGID
  }
  if (namespace.disk.isReadOnly) bytes[99] = 1; // NSATTR: write protected
  if (namespace.eui64 !== undefined) view.setBigUint64(120, namespace.eui64);
  for (const [index, { shift, metadata }] of FORMATS.entries()) {
    view.setUint16(128 + 4 * index, metadata, true);
    bytes[128 + 4 * index + 2] = shift;
  }
  return bytes;
}

/** Limits of a copy in a namespace: blocks of a range, blocks of all, ranges. */
export function copyLimits(namespace: Namespace): { rangeBlocks: number; allBlocks: number; ranges: number } {
  return namespace.isShared ? { ...COPY, ranges: COPY.ranges + 1 } : { rangeBlocks: 0, allBlocks: 0, ranges: 1 };
}

/** Of the NVM command set (CNS 5). */
export function namespaceCommandSetData(namespace: Namespace): Uint8Array {
  const { bytes, view } = structure();
  view.setUint32(268, namespace.granularity + 1, true); // NPDGL
  view.setUint32(284, namespace.granularity + 1, true); // NPDAL
  return bytes;
}

/** Of any command set (CNS 8). */
export function independentData({ isShared }: Namespace): Uint8Array {
  const { bytes } = structure();
  if (!isShared) return bytes;
  bytes[1] = 1; // NMIC
  bytes[14] = 1; // NSTAT: ready
  return bytes;
}

/** Descriptors of a namespace's identity: type, length, two reserved bytes, value. */
export function identifierList({ uuid, eui64 }: Namespace): Uint8Array {
  const { bytes } = structure();
  let at = 0;
  const add = (type: number, value: Uint8Array) => {
    bytes[at] = type;
    bytes[at + 1] = value.length;
    bytes.set(value, at + 4);
    at += 4 + value.length;
  };
  if (uuid) add(IDENTIFIER_UUID, uuid);
  if (eui64 !== undefined) {
    const value = Buffer.alloc(8);
    value.writeBigUInt64BE(eui64);
    add(IDENTIFIER_EUI64, value);
  }
  add(IDENTIFIER_COMMAND_SET, Uint8Array.of(0));
  return bytes;
}

/** Namespace identifiers, 32 bits each, with zeros behind them. */
export function namespaceList(ids: readonly number[]): Uint8Array {
  const { bytes, view } = structure();
  for (const [index, id] of ids.slice(0, IDENTIFY_SIZE / 4).entries()) view.setUint32(4 * index, id, true);
  return bytes;
}

/** How many there are, and that many identifiers: 16 bits each. */
export function identifiers16(ids: readonly number[]): Uint8Array {
  const { bytes, view } = structure();
  for (const [index, id] of [ids.length, ...ids].entries()) view.setUint16(2 * index, id, true);
  return bytes;
}

/** Resources for virtual functions, which it has not (CNS 14h): all queues and vectors are its own. */
export function primaryCapabilities({ queues, vectors }: ControllerFacts): Uint8Array {
  const { bytes, view } = structure();
  bytes[4] = 3; // CRT: queues and interrupts
  view.setUint16(42, queues + 1, true); // VQPRT
  view.setUint16(46, 1, true); // VQGRAN
  view.setUint16(74, vectors, true); // VIPRT
  view.setUint16(78, 1, true); // VIGRAN
  return bytes;
}

/** The sets of I/O commands that there are at a time: NVM, zoned. */
export function commandSets(): Uint8Array {
  const { bytes } = structure();
  bytes[0] = 5;
  return bytes;
}

/** The log page of effects. */
export function effects(hasIo: boolean): Uint8Array {
  const { bytes, view } = structure();
  for (const [opcode, effect] of ADMIN_EFFECTS) view.setUint32(4 * opcode, effect, true);
  if (hasIo) for (const [opcode, effect] of IO_EFFECTS) view.setUint32(1024 + 4 * opcode, effect, true);
  return bytes;
}
