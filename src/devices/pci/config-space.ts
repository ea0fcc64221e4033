import { viewOf } from "../../uapi/layout.ts";
import { type WriteMasks, writeMasks } from "./write-mask.ts";

/** A width of access to config space, in bytes. */
export type ConfigWidth = 1 | 2 | 4;

/** A function's config space as the bus shows it: every byte can be read, what software can change is in the masks. */
export class ConfigSpace {
  /** As it is now. Whoever plays the device changes it directly; software goes through write(). */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  #masks: WriteMasks | undefined;
  readonly #initial: Uint8Array;

  /** @param initial 256 or 4096 bytes as firmware leaves them; they do not change */
  constructor(initial: Uint8Array) {
    this.#initial = initial;
    this.bytes = initial.slice();
    this.view = viewOf(this.bytes);
  }

  get size(): number {
    return this.bytes.length;
  }

  read(offset: number, width: ConfigWidth): number {
    switch (width) {
      case 1:
        return this.view.getUint8(offset);
      case 2:
        return this.view.getUint16(offset, true);
      default:
        return this.view.getUint32(offset, true);
    }
  }

  write(offset: number, width: ConfigWidth, value: number): void {
    this.#masks ??= writeMasks(this.#initial);
    const { write, clear } = this.#masks;
    for (let i = 0; i < width; i++) {
      const at = offset + i;
      const byte = (value >>> (i * 8)) & 0xff;
      this.bytes[at] = ((this.bytes[at]! & ~write[at]!) | (byte & write[at]!)) & ~(byte & clear[at]!);
    }
  }

  /** Everything is as firmware left it. */
  restore(): void {
    this.bytes.set(this.#initial);
  }
}
