/**
 * The numbers in a structure that crosses the system-call boundary: they are in the byte order of the caller's
 * processor. What a device has (config space, registers, descriptors) is little-endian on every machine and is read
 * through a DataView.
 */
export class StructView {
  /** The caller's byte order. A view that is shared by all callers is told it with each structure. */
  littleEndian: boolean;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, littleEndian: boolean) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.littleEndian = littleEndian;
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    return this.#view.getUint16(at, this.littleEndian);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, this.littleEndian);
  }

  s32(at: number): number {
    return this.#view.getInt32(at, this.littleEndian);
  }

  u64(at: number): bigint {
    return this.#view.getBigUint64(at, this.littleEndian);
  }

  setU8(at: number, value: number): void {
    this.#view.setUint8(at, value);
  }

  setU16(at: number, value: number): void {
    this.#view.setUint16(at, value, this.littleEndian);
  }

  setU32(at: number, value: number): void {
    this.#view.setUint32(at, value, this.littleEndian);
  }

  setS32(at: number, value: number): void {
    this.#view.setInt32(at, value, this.littleEndian);
  }

  setU64(at: number, value: bigint): void {
    this.#view.setBigUint64(at, value, this.littleEndian);
  }
}
