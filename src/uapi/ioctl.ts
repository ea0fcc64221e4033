/**
 * How a request number is put together: `_IO(type, nr)`, a request without size and direction, which is all that VFIO
 * and iommufd use (include/uapi/asm-generic/ioctl.h; arch/powerpc/include/uapi/asm/ioctl.h).
 */

/**
 * Most architectures encode "no direction" as 0, so `_IO(';', 100)` is 0x3b64. powerpc (like mips, sparc and alpha) has
 * a 3-bit direction field in which "none" is 1: 0x20003b64.
 */
export type IoctlEncoding = "plain" | "powerpc";

/** The type (`;`) of all VFIO and iommufd requests. */
export const VFIO_TYPE = 0x3b;
/** The number of the first VFIO request. */
export const VFIO_BASE = 100;
/** The number of the first iommufd request. */
export const IOMMUFD_CMD_BASE = 0x80;

const NO_DIRECTION: Record<IoctlEncoding, number> = { plain: 0, powerpc: 0x2000_0000 };

export interface DecodedRequest {
  readonly type: number;
  readonly nr: number;
  readonly encoding: IoctlEncoding;
}

/** `_IO(type, nr)` as a program of that architecture passes it. Never negative. */
export function encodeIo(type: number, nr: number, encoding: IoctlEncoding = "plain"): number {
  return NO_DIRECTION[encoding] + type * 0x100 + nr;
}

/** Takes an `_IO()` request of either encoding apart; undefined when it has a size or a direction. */
export function decodeIo(request: number): DecodedRequest | undefined {
  const rest = request >>> 0;
  const low = rest & 0xffff;
  const encoding = rest === low ? "plain" : rest - low === NO_DIRECTION.powerpc ? "powerpc" : undefined;
  return encoding === undefined ? undefined : { type: low >>> 8, nr: low & 0xff, encoding };
}

/**
 * The request as this project's constants have it (plain encoding), or undefined when it is not an `_IO()` request of
 * the host's architecture: to a powerpc kernel 0x3b64 is unknown, to the others 0x20003b64 is.
 */
export function plainRequest(request: number, encoding: IoctlEncoding): number | undefined {
  const decoded = decodeIo(request);
  return decoded?.encoding === encoding ? encodeIo(decoded.type, decoded.nr) : undefined;
}
