import type { AccessWidth } from "../../devices/device-model.ts";
import { getValue, setValue } from "../../devices/register-value.ts";
import { fail } from "../../kernel/errors.ts";
import type { SharedMemory } from "../../kernel/file-description.ts";
import { viewOf } from "../../uapi/layout.ts";
import type { OpenDevice } from "./open-device.ts";

/** A part of a BAR as other devices reach it: each access arrives there in pieces as wide as can be. */
export class BarMemory implements SharedMemory {
  readonly #device: OpenDevice;
  readonly #index: number;
  readonly #start: number;

  /** @param start bytes from the BAR's start */
  constructor(device: OpenDevice, index: number, start: number) {
    this.#device = device;
    this.#index = index;
    this.#start = start;
  }

  read(offset: number, into: Uint8Array): void {
    const device = this.#device;
    const { target } = device;
    const at = this.#start + offset;
    const memory = target.isCutOff ? undefined : target.model.memory(this.#index);
    if (memory) {
      device.pull(this.#index, at, into.length);
      memory.readBytes(at, into);
      return;
    }
    this.#refuseElsewhere();
    const view = viewOf(into);
    for (const [done, width] of pieces(at, into.length)) {
      setValue(view, done, width, target.readRegion(this.#index, at + done, width));
    }
  }

  write(offset: number, from: Uint8Array): void {
    const device = this.#device;
    const { target } = device;
    const at = this.#start + offset;
    const memory = target.isCutOff ? undefined : target.model.memory(this.#index);
    if (memory) {
      memory.writeBytes(at, from);
      device.push(this.#index, at, from.length);
      return;
    }
    this.#refuseElsewhere();
    const view = viewOf(from);
    for (const [done, width] of pieces(at, from.length)) {
      target.writeRegion(this.#index, at + done, width, getValue(view, done, width));
    }
    device.showShared();
  }

  #refuseElsewhere(): void {
    const { target } = this.#device;
    if (!target.model.prepare) return;
    fail("EFAULT", `the registers of ${target.name} are served by another process, which no device's DMA waits for`);
  }
}

/** An access as it reaches registers: where each piece begins in it, and how wide it is. */
function* pieces(at: number, length: number): Generator<readonly [number, AccessWidth]> {
  for (let done = 0; done < length; ) {
    const width = ([8, 4, 2] as const).find((each) => length - done >= each && (at + done) % each === 0) ?? 1;
    yield [done, width];
    done += width;
  }
}
