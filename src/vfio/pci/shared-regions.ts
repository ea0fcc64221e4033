import type { AccessWidth, DeviceModel, MappedRegister, RegionMemory } from "../../devices/device-model.ts";
import { getNumber, getValue, setValue } from "../../devices/register-value.ts";
import type { RegisterPage, SharedMemory } from "../../kernel/file-description.ts";
import { VFIO_PCI_ROM_REGION_INDEX } from "../../uapi/vfio-device.ts";
import { AllOnes } from "./all-ones.ts";
import type { OpenDevice, ShownMemory } from "./open-device.ts";
import { isMappable, regionOffset } from "./region.ts";

/** Bytes of a memory region that are compared or copied together. */
const PIECE = 65536;
/** Bytes of a page of the machine that programs run on. */
const PAGE = 4096;

/** The registers of one region, and the bytes of the mapping that they lie in: looked at in one piece. */
interface RegisterBlock {
  readonly region: number;
  readonly registers: readonly MappedRegister[];
  /** Offset of `bytes` in the file. */
  readonly place: number;
  /** Offset of `bytes` in the region. */
  readonly first: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** For a second look, in the same layout. */
  readonly again: Uint8Array;
  /** What the mapping showed when it was last looked at, in the layout of `bytes`. */
  readonly shown: DataView;
  readonly shownBytes: Buffer;
}

/**
 * The mappable regions of a device in memory that a transport shares with a program, where nobody sees single accesses.
 * Plain memory is kept equal on both sides. Registers show their values there; one that the program has changed was
 * written to, which poll() finds out. Two writes between polls look like one, and a write of the value that is shown
 * already like none.
 */
export class SharedRegions implements ShownMemory {
  readonly #device: OpenDevice;
  readonly #memory: SharedMemory;
  readonly #regions: readonly number[];
  readonly #blocks: readonly RegisterBlock[];
  /** Registers that are expected to be written, by where they begin in the file. */
  readonly #expected = new Set<number>();
  readonly #pages: readonly RegisterPage[] | undefined;
  readonly #ones: AllOnes;

  constructor(device: OpenDevice, memory: SharedMemory) {
    this.#device = device;
    this.#memory = memory;
    const { target, context } = device;
    const all = Array.from({ length: VFIO_PCI_ROM_REGION_INDEX }, (_, index) => index);
    this.#regions = all.filter((index) => isMappable(target, index, context));
    this.#blocks = this.#regions.flatMap((region) => registerBlock(region, target.model.registers(region)));
    const { model } = target;
    this.#pages = model.changesUnseen ? undefined : this.#blocks.flatMap(pagesOf);
    this.#ones = new AllOnes(device, memory, this.#regions, () => {
      for (const { shownBytes } of this.#blocks) shownBytes.fill(0);
      this.show();
    });
    for (const region of this.#regions) {
      for (const { offset, bytes } of target.model.memory(region)?.pages() ?? [])
        memory.write(regionOffset(region) + offset, bytes);
    }
    this.show(true);
  }

  /** As FileDescription has it. */
  get registerPages(): readonly RegisterPage[] | undefined {
    return this.#pages;
  }

  /** Whether programs have written something that poll() has not seen. */
  hasNewWrites(): boolean {
    return this.#blocks.some(({ place, again, shownBytes }) => {
      this.#memory.read(place, again);
      return !shownBytes.equals(again);
    });
  }

  /**
   * A program is about to write there, offset into the file: registers show that.
   * @returns whether one of the value that is there means something: not of a model that shows something else there,
   * which nobody has written then
   */
  expectWrite(offset: number): boolean {
    const found = this.#find(offset);
    if (!found) return false;
    const { block, register } = found;
    this.#expected.add(regionOffset(block.region) + register.offset);
    const { model } = this.#device.target;
    if (model.expectsWrite) {
      model.expectsWrite(block.region, register.offset);
      this.show();
    }
    return model.shows === undefined;
  }

  /** Whether a write there is expected and was not carried out. */
  isExpected(offset: number): boolean {
    const found = this.#expected.size > 0 ? this.#find(offset) : undefined;
    return found !== undefined && this.#expected.has(regionOffset(found.block.region) + found.register.offset);
  }

  /** None is expected any more. */
  forgetWrites(): void {
    this.#expected.clear();
    const { model } = this.#device.target;
    if (!model.expectsWrite) return;
    model.expectsWrite(undefined);
    this.show();
  }

  #find(offset: number): { block: RegisterBlock; register: MappedRegister } | undefined {
    for (const block of this.#blocks) {
      const at = offset - regionOffset(block.region);
      const register = block.registers.find((each) => at >= each.offset && at < each.offset + each.width);
      if (register) return { block, register };
    }
    return undefined;
  }

  /** Takes over what the program wrote to a part of a memory region; nothing for registers. */
  pull(region: number, at: number, length: number): void {
    const memory = this.#memoryOf(region);
    if (!memory) return;
    eachPiece(at, length, (from, shown, own) => {
      this.#memory.read(regionOffset(region) + from, shown);
      memory.readBytes(from, own);
      // a model of memory takes pages for what is written to it
      if (!shown.equals(own)) memory.writeBytes(from, shown);
    });
  }

  /** Shows the program what was written to a part of a memory region by other means. */
  push(region: number, at: number, length: number): void {
    const memory = this.#memoryOf(region);
    if (!memory) return;
    eachPiece(at, length, (from, _shown, own) => {
      memory.readBytes(from, own);
      this.#memory.write(regionOffset(region) + from, own);
    });
  }

  /**
   * Looks for registers that the program has written to, in the order in which the model lists them, and carries the
   * writes out.
   * @param rung offset into the file of a byte that was written with the value that it has
   * @returns whether there was one
   */
  poll(rung?: number): boolean {
    const { target, config, context } = this.#device;
    if (this.#ones.isThere) {
      this.#loseWrites();
      return false;
    }
    if (!config.memoryEnabled) return false;
    let written = target.model.advance?.() ?? false;
    for (const block of this.#blocks) {
      const { region, registers, place, first, bytes, view, shown, shownBytes } = block;
      this.#memory.read(place, bytes);
      // most looks find nothing new
      if (rung === undefined && shownBytes.equals(bytes)) continue;
      this.#lookAgain(block);
      let showsOld = false;
      for (const { offset, width, begins } of registers) {
        const at = offset - first;
        const start = regionOffset(region) + offset;
        if (!bytesEqual(view, shown, at, width)) {
          // a read of many bytes may have met the program in the middle of its write; one of a register does not
          this.#memory.read(place + at, bytes.subarray(at, at + width));
        }
        const isRung = rung !== undefined && rung >= start && rung < start + width;
        if (bytesEqual(view, shown, at, width) && !isRung) continue;
        const value = getValue(view, at, width);
        this.#expected.delete(start);
        if (begins && showsOld) this.show();
        showsOld = !begins;
        setValue(shown, at, width, value);
        context.watch?.registerWritten?.(target.name, region, offset, width, value);
        target.writeRegion(region, offset, width, value);
        written = true;
      }
    }
    if (written) this.show();
    return written;
  }

  /**
   * A program may write a register that a look has passed already, and then one that it has not come to. What was
   * written before that is there when one looks once more.
   */
  #lookAgain({ registers, place, first, bytes, view, shown, again }: RegisterBlock): void {
    const isNew = (look: DataView, { offset, width }: MappedRegister) =>
      !bytesEqual(look, shown, offset - first, width);
    const last = registers.findLastIndex((register) => isNew(view, register));
    if (last <= 0) return;
    this.#memory.read(place, again);
    const look = new DataView(again.buffer);
    for (const register of registers.slice(0, last)) {
      const at = register.offset - first;
      if (isNew(look, register) && !isNew(view, register)) bytes.set(again.subarray(at, at + register.width), at);
    }
  }

  /**
   * Shows what the registers read as now. Only what changes is written: the program may be writing others just then.
   * One that it has written since the last look is left as it is, for the next one.
   * @param isFirst nobody has mapped them yet
   */
  show(isFirst = false): void {
    const { target } = this.#device;
    const { model } = target;
    this.#ones.set(target.isCutOff);
    if (this.#ones.isThere) return;
    for (const { region, registers, place, first, bytes, view, again, shown, shownBytes } of this.#blocks) {
      let look: DataView | undefined;
      for (let i = registers.length - 1; i >= 0; i--) {
        const { offset, width } = registers[i]!;
        const at = offset - first;
        if (model.showsNumber && isShown(model, region, offset, width, shown, at)) continue;
        const value = model.shows?.(region, offset, width) ?? target.readRegion(region, offset, width);
        if (value === getValue(shown, at, width)) continue;
        if (!look) {
          this.#memory.read(place, again);
          look = new DataView(again.buffer);
        }
        if (!isFirst && !bytesEqual(look, shown, at, width)) continue;
        setValue(view, at, width, value);
        const [old, now] = [shownBytes.subarray(at, at + width), bytes.subarray(at, at + width)];
        if (isFirst || !this.#memory.replace) this.#memory.write(place + at, now);
        // it was written since it was looked at
        else if (!this.#memory.replace(place + at, old, now)) continue;
        setValue(shown, at, width, value);
      }
    }
  }

  /** The memory is not used any more. */
  end(): void {
    this.#device.target.clock.stop(this.#ones);
  }

  /** Nobody hears what is written to registers, and they go on reading as all ones. */
  #loseWrites(): void {
    if (!this.#device.target.isCutOff) return;
    for (const { place, bytes } of this.#blocks) {
      this.#memory.read(place, bytes);
      if (bytes.every((byte) => byte === 0xff)) continue;
      this.#memory.write(place, bytes.fill(0xff));
    }
  }

  /** A mapped region that is plain memory, while its device is there. */
  #memoryOf(region: number): RegionMemory | undefined {
    if (this.#ones.isThere) return undefined;
    return this.#regions.includes(region) ? this.#device.target.model.memory(region) : undefined;
  }
}

/** Goes through a part of a region, with two buffers for its bytes. */
function eachPiece(at: number, length: number, each: (from: number, shown: Buffer, own: Buffer) => void): void {
  const size = Math.min(length, PIECE);
  const shown = Buffer.alloc(size);
  const own = Buffer.alloc(size);
  for (let done = 0; done < length; done += size) {
    const count = Math.min(size, length - done);
    each(at + done, shown.subarray(0, count), own.subarray(0, count));
  }
}

/** The pages of a mapping that registers lie in. */
function pagesOf({ region, registers }: RegisterBlock): RegisterPage[] {
  const pages = new Map<number, boolean>();
  for (const { offset, width, doorbell } of registers) {
    for (let page = offset - (offset % PAGE); page < offset + width; page += PAGE)
      pages.set(page, doorbell === true || pages.get(page) === true);
  }
  return [...pages].map(([page, isExpected]) => ({ offset: regionOffset(region) + page, isExpected }));
}

/** Whether a mapping shows a register as its model does; without a bigint. */
function isShown(
  model: DeviceModel,
  region: number,
  offset: number,
  width: AccessWidth,
  shown: DataView,
  at: number,
): boolean {
  if (width !== 8) return model.showsNumber?.(region, offset, width) === getNumber(shown, at, width);
  return isShown(model, region, offset, 4, shown, at) && isShown(model, region, offset + 4, 4, shown, at + 4);
}

/** Whether a register is the same in both; without making a bigint of it, because most are. */
function bytesEqual(a: DataView, b: DataView, at: number, width: number): boolean {
  for (let i = 0; i < width; i++) if (a.getUint8(at + i) !== b.getUint8(at + i)) return false;
  return true;
}

function registerBlock(region: number, registers: readonly MappedRegister[]): RegisterBlock[] {
  if (registers.length === 0) return [];
  const first = Math.min(...registers.map(({ offset }) => offset));
  const end = Math.max(...registers.map(({ offset, width }) => offset + width));
  const bytes = new Uint8Array(end - first);
  const view = new DataView(bytes.buffer);
  const again = new Uint8Array(end - first);
  const shown = new DataView(new ArrayBuffer(end - first));
  const shownBytes = Buffer.from(shown.buffer);
  return [{ region, registers, place: regionOffset(region) + first, first, bytes, view, again, shown, shownBytes }];
}
