import type { AccessWidth } from "../../devices/device-model.ts";
import { getValue, setValue } from "../../devices/register-value.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { MemoryObject } from "../../kernel/model-object.ts";
import { viewOf } from "../../uapi/layout.ts";
import type { OpenDevice } from "./open-device.ts";

/**
 * A region behind mmap() for a program in this process: each read and write is an access to the device of the width
 * that the program has used. With memory switched off a touch is a bus error, which is EFAULT here.
 */
export class MappedRegion extends MemoryObject {
  readonly #device: OpenDevice;
  readonly #index: number;
  readonly #size: number;

  constructor(device: OpenDevice, index: number, pageSize: number) {
    super(pageSize, true);
    this.#device = device;
    this.#index = index;
    this.#size = device.target.bar(index)!.size;
  }

  pageCount(): number {
    return Math.ceil(this.#size / this.pageSize);
  }

  read(offset: number, into: Uint8Array): void {
    if (this.#isSilent) {
      into.fill(0xff);
      return;
    }
    const view = viewOf(into);
    this.#each(offset, into.length, (done, at, width) => {
      setValue(view, done, width, this.#device.target.readRegion(this.#index, at, width));
    });
  }

  write(offset: number, from: Uint8Array): void {
    if (this.#isSilent) return;
    const view = viewOf(from);
    const { target, context } = this.#device;
    this.#each(offset, from.length, (done, at, width) => {
      context.watch?.registerWritten?.(target.name, this.#index, at, width, getValue(view, done, width));
      this.#device.target.writeRegion(this.#index, at, width, getValue(view, done, width));
    });
  }

  /** The device keeps its registers whatever happens to mappings. */
  discard(): void {}
  forget(): void {}

  clone(): MemoryObject {
    return this;
  }

  /** Memory is switched off and the kernel does not take its mappings away: nobody answers. */
  get #isSilent(): boolean {
    const { config, context, target } = this.#device;
    if (target.isCutOff) return true;
    return !config.memoryEnabled && !context.release.has("memoryEnableChecked");
  }

  #each(offset: number, length: number, access: (done: number, at: number, width: AccessWidth) => void): void {
    const { target, config, lowPower } = this.#device;
    if (!config.memoryEnabled || lowPower) {
      fail(
        "EFAULT",
        `bus error at ${hex(offset)} of BAR ${this.#index}: memory of ${target.name} is switched off (PCI_COMMAND bit 1) or it sleeps`,
      );
    }
    for (let done = 0; done < length; ) {
      const width = widest(offset + done, length - done);
      access(done, offset + done, width);
      done += width;
    }
  }
}

function widest(at: number, left: number): AccessWidth {
  for (const width of [8, 4, 2] as const) if (left >= width && at % width === 0) return width;
  return 1;
}
