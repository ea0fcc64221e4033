import type { AccessWidth, NumberWidth } from "./device-model.ts";

/** A little-endian value of a register in a buffer. */
export function getValue(view: DataView, at: number, width: AccessWidth): bigint {
  switch (width) {
    case 8:
      return view.getBigUint64(at, true);
    case 4:
      return BigInt(view.getUint32(at, true));
    case 2:
      return BigInt(view.getUint16(at, true));
    default:
      return BigInt(view.getUint8(at));
  }
}

/** One of at most 4 bytes as a number. */
export function getNumber(view: DataView, at: number, width: NumberWidth): number {
  if (width === 4) return view.getUint32(at, true);
  return width === 2 ? view.getUint16(at, true) : view.getUint8(at);
}

export function setValue(view: DataView, at: number, width: AccessWidth, value: bigint): void {
  if (width === 8) view.setBigUint64(at, value, true);
  else if (width === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
  else if (width === 2) view.setUint16(at, Number(BigInt.asUintN(16, value)), true);
  else view.setUint8(at, Number(BigInt.asUintN(8, value)));
}
