import * as frames from "../../gigabit/frame.ts";
import { bufferSize, checkedSums, DD, EOP, IPIDV, VP } from "../../gigabit/received-status.ts";
import type { RegisterFile } from "../../gigabit/register-file.ts";
import type { Hashed } from "../../gigabit/rss.ts";
import * as reg from "./registers.ts";

/** What descriptors of receive rings are like (82574 datasheet, 7.1.4 to 7.1.6). */
export interface Layout {
  /** Of 16 bytes, that one takes. */
  readonly units: 1 | 2;
  /** Bytes of its buffers. */
  readonly sizes: readonly number[];
  /** Whether headers may be in a buffer of their own. */
  readonly splits: boolean;
  /** How many a frame takes, the first bytes of which are a header apart (0: none). */
  descriptors(total: number, header: number): number;
}

/** What is known of a received frame. */
export interface About {
  readonly frame: Uint8Array;
  readonly parsed: frames.Parsed;
  /** Where RSS is on. */
  readonly hash: Hashed | undefined;
  readonly queue: number;
  /** The VLAN tag that was taken out. */
  readonly tag: number | undefined;
}

/** Above the status bits of the family. */
const ACK = 1 << 15;
const TYPE_SHIFT = 16;
const TYPE_IPV4 = 1;
const TYPE_IPV4_TRANSPORT = 2;
const TYPE_IPV6 = 5;
const TYPE_IPV6_TRANSPORT = 6;
/** The header is in a buffer of its own. */
const SPLIT = 1 << 15;
const TCP_ACK = 0x10;
const TCP_FLAGS = 13;

export function layoutOf(file: RegisterFile): Layout {
  const rctl = file.get(reg.RCTL);
  const isExtended = file.has(reg.RFCTL, reg.RFCTL_EXTEN);
  const splits = isExtended && (rctl & reg.RCTL_SPLITS) !== 0;
  const sizes = splits ? splitSizes(file.get(reg.PSRCTL)) : [((rctl >>> 27) & 0xf) * 1024 || bufferSize(rctl)];
  const all = sizes.reduce((sum, size) => sum + size, 0);
  return {
    units: splits ? 2 : 1,
    sizes,
    splits,
    descriptors: (total, header) =>
      header === 0 ? Math.ceil(total / all) : Math.max(1, Math.ceil((total - header) / (all - sizes[0]!))),
  };
}

/** PSRCTL: the first buffer counts in 128 bytes, the others in KiB. */
function splitSizes(control: number): readonly number[] {
  const kilobytes = [8, 16, 24].map((shift) => ((control >>> shift) & 0x3f) * 1024);
  return [(control & 0x7f) * 128, ...kilobytes];
}

/** Bytes of the header that goes into a buffer of its own; 0 for a frame that is not split. */
export function headerOf(shown: Uint8Array, { sizes }: Layout, file: RegisterFile): number {
  const { version, transport, protocol, isFragment } = frames.parse(shown);
  if (version === 0 || (isFragment && file.has(reg.RFCTL, reg.RFCTL_IPFRSP_DIS))) return 0;
  let header = transport;
  if (protocol === frames.UDP) header += 8;
  if (protocol === frames.TCP) header += (shown[transport + 12]! >>> 4) * 4;
  return header > sizes[0]! || header > shown.length ? 0 : header;
}

/** Whether it is an acknowledgement of TCP, as RFCTL means it. */
export function isAck(frame: Uint8Array, { protocol, transport, end }: frames.Parsed, file: RegisterFile): boolean {
  if (protocol !== frames.TCP || !(frame[transport + TCP_FLAGS]! & TCP_ACK)) return false;
  const data = end - transport - (frame[transport + 12]! >>> 4) * 4;
  return data <= 0 || !file.has(reg.RFCTL, reg.RFCTL_ACK_DATA_DIS);
}

/**
 * Writes what is said of buffers in the place of their addresses; about the frame only behind its last one.
 * @param written bytes in each buffer
 * @param header bytes of a header that has a buffer of its own
 */
export function writeDescription(
  view: DataView,
  file: RegisterFile,
  { written, header, about }: { written: readonly number[]; header: number; about: About | undefined },
): void {
  const status = DD | (about ? EOP | statusOf(about, file) : 0);
  const tag = about?.tag ?? 0;
  if (!file.has(reg.RFCTL, reg.RFCTL_EXTEN)) {
    view.setUint16(8, written[0]!, true);
    view.setUint16(10, 0, true);
    view.setUint8(12, status);
    view.setUint8(13, status >>> 24);
    view.setUint16(14, tag, true);
    return;
  }
  for (let i = 0; i < view.byteLength; i += 4) view.setUint32(i, 0);
  if (about) writeHash(view, about, file);
  view.setUint32(8, status >>> 0, true);
  view.setUint16(12, written[0]!, true);
  view.setUint16(14, tag, true);
  if (written.length === 1) return;
  view.setUint16(16, header | (header > 0 ? SPLIT : 0), true);
  for (const [i, bytes] of written.slice(1).entries()) view.setUint16(18 + 2 * i, bytes, true);
}

function statusOf({ frame, parsed, tag }: About, file: RegisterFile): number {
  let status = checkedSums(frame, parsed, file) | (typeOf(parsed, file) << TYPE_SHIFT);
  if (tag !== undefined) status |= VP;
  if (isAck(frame, parsed, file)) status |= ACK;
  if (parsed.version === 4 && !file.has(reg.RXCSUM, reg.RXCSUM_PCSD)) status |= IPIDV;
  return status;
}

/** The hash and the queue, or the identification of an IPv4 packet. */
function writeHash(view: DataView, { frame, parsed, hash, queue }: About, file: RegisterFile): void {
  if (file.has(reg.RXCSUM, reg.RXCSUM_PCSD)) {
    if (!hash) return;
    view.setUint32(0, hash.type | (queue << 8), true);
    view.setUint32(4, hash.hash, true);
  } else if (parsed.version === 4) view.setUint16(4, frames.word(frame, parsed.network + 4), true);
}

function typeOf({ version, protocol }: frames.Parsed, file: RegisterFile): number {
  const hasTransport = protocol === frames.TCP || protocol === frames.UDP;
  if (version === 4) return hasTransport ? TYPE_IPV4_TRANSPORT : TYPE_IPV4;
  if (version === 0 || file.has(reg.RFCTL, reg.RFCTL_IPV6_DIS)) return 0;
  return hasTransport ? TYPE_IPV6_TRANSPORT : TYPE_IPV6;
}
