import * as frames from "./frame.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";

/**
 * Status and error bits in the third word of what is written back of a received frame (82574 datasheet, 7.1.5; 82576
 * datasheet, 7.1.5.2).
 */
export const DD = 1 << 0;
export const EOP = 1 << 1;
export const VP = 1 << 3;
export const IPIDV = 1 << 9;
const UDPCS = 1 << 4;
const L4CS = 1 << 5;
const IPCS = 1 << 6;
const L4E = 1 << 29;
const IPE = 1 << 30;

/** Which checksums were looked at, and which of them are wrong. */
export function checkedSums(frame: Uint8Array, parsed: frames.Parsed, file: RegisterFile): number {
  if (parsed.version === 6 && file.has(reg.RFCTL, reg.RFCTL_IPV6_XSUM_DIS)) return 0;
  let status = 0;
  const network = file.has(reg.RXCSUM, reg.RXCSUM_IPOFLD) ? frames.checkNetwork(frame, parsed) : undefined;
  if (network !== undefined) status |= IPCS | (network ? 0 : IPE);
  const transport = file.has(reg.RXCSUM, reg.RXCSUM_TUOFLD) ? frames.checkTransport(frame, parsed) : undefined;
  if (transport === undefined) return status;
  return status | L4CS | (transport ? 0 : L4E) | (parsed.protocol === frames.UDP ? UDPCS : 0);
}

/** Sizes of buffers by RCTL.BSIZE, and with BSEX (82574 datasheet, 10.2.5.1; 82576 datasheet, 8.10.1). */
const BUFFER_SIZES = [2048, 1024, 512, 256];
const LONG_BUFFER_SIZES = [2048, 16384, 8192, 4096];

/** Bytes of a receive buffer as RCTL has them. */
export function bufferSize(rctl: number): number {
  return (rctl & (1 << 25) ? LONG_BUFFER_SIZES : BUFFER_SIZES)[(rctl >>> 16) & 3]!;
}

/** A frame as a port takes it: at least so long as the shortest one. @param isShort hears of a shorter one */
export function padded(frame: Uint8Array, isShort: () => void): Uint8Array {
  if (frame.length >= frames.MINIMUM) return frame;
  isShort();
  const whole = new Uint8Array(frames.MINIMUM);
  whole.set(frame);
  return whole;
}
