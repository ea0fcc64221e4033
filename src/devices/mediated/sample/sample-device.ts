import type { PasidRequest } from "../../../iommu/dma-target.ts";
import { hex, KernelError } from "../../../kernel/errors.ts";
import { errnoName } from "../../../uapi/errno.ts";
import type { AccessWidth } from "../../device-model.ts";
import { MemoryRegion } from "../../memory-region.ts";
import type { MediatedModel, MediatedSurroundings } from "../mediated-model.ts";
import { HeldPages } from "./held-pages.ts";
import * as reg from "./registers.ts";

const U32 = 0xffff_ffffn;

/** Registers that keep what is written to them. */
const PLAIN: readonly number[] = [reg.IOVA_LOW, reg.IOVA_HIGH, reg.COUNT, reg.FLAGS, reg.OFFSET];

/** Commands that only a device with DMA of its own knows. */
const DMA_COMMANDS: readonly reg.Command[] = ["DMA_READ", "DMA_WRITE"];

/**
 * A mediated device whose registers make its driver pin pages, read and write them, and reach memory without pinning
 * (docs/sample-mdev.md). A command is carried out within the write to COMMAND, in the caller's context, as
 * samples/vfio-mdev do their work.
 */
export class SampleMediatedDevice implements MediatedModel {
  readonly #around: MediatedSurroundings;
  readonly #held: HeldPages;
  readonly #registers = new Map<number, number>();
  readonly #buffer = new MemoryRegion();

  constructor(around: MediatedSurroundings) {
    this.#around = around;
    this.#held = new HeldPages(around.memory);
  }

  read(region: number, offset: number, width: AccessWidth): bigint {
    if (region === reg.BUFFER_BAR) return this.#buffer.read(offset, width);
    // registers are whole: narrower accesses reach nothing
    if (width < 4) return 0n;
    if (width === 8) return this.read(region, offset, 4) | (this.read(region, offset + 4, 4) << 32n);
    return BigInt(this.#register(offset) >>> 0);
  }

  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    if (region === reg.BUFFER_BAR) {
      this.#buffer.write(offset, width, value);
    } else if (width === 8) {
      this.write(region, offset, 4, value & U32);
      this.write(region, offset + 4, 4, value >> 32n);
    } else if (width === 4) {
      this.#set(offset, Number(value));
    }
  }

  reset(): void {
    this.#held.releaseAll();
    this.#registers.clear();
    this.#buffer.reset();
    this.#around.lower();
  }

  dmaUnmap(iova: bigint, size: bigint): void {
    const count = this.#held.release(iova, size);
    if (count === 0) return;
    this.#registers.set(reg.TAKEN, this.#plain(reg.TAKEN) + count);
    this.#event(reg.IRQ_TAKEN);
  }

  /** Not to be mapped: what a register does is done when it is written. */
  memory(): undefined {
    return undefined;
  }

  registers(): readonly [] {
    return [];
  }

  #register(offset: number): number {
    switch (offset) {
      case reg.ID:
        return reg.ID_VALUE;
      case reg.PAGE_BYTES:
        return this.#around.memory.pageSize;
      case reg.PINNED:
        return this.#held.size;
      default:
        return this.#plain(offset);
    }
  }

  #plain(offset: number): number {
    return this.#registers.get(offset) ?? 0;
  }

  #set(offset: number, value: number): void {
    if (PLAIN.includes(offset) || (offset === reg.PASID && this.#around.dma)) {
      this.#registers.set(offset, value);
      return;
    }
    switch (offset) {
      case reg.COMMAND:
        this.#registers.set(offset, value);
        this.#run(value);
        return;
      case reg.IRQ_ENABLE: {
        const before = this.#pending;
        this.#registers.set(offset, value & reg.IRQ_BITS);
        if (this.#pending & ~before) this.#around.raise();
        else if (this.#pending === 0) this.#around.lower();
        return;
      }
      case reg.IRQ_STATUS:
        this.#registers.set(offset, this.#plain(offset) & ~value);
        if (this.#pending === 0) this.#around.lower();
        return;
    }
  }

  get #pending(): number {
    return this.#plain(reg.IRQ_STATUS) & this.#plain(reg.IRQ_ENABLE);
  }

  #event(bit: number): void {
    this.#registers.set(reg.IRQ_STATUS, this.#plain(reg.IRQ_STATUS) | bit);
    if (this.#plain(reg.IRQ_ENABLE) & bit) this.#around.raise();
  }

  #run(number: number): void {
    const named = reg.COMMANDS[number];
    const command = named && DMA_COMMANDS.includes(named) && !this.#around.dma ? undefined : named;
    if (command === "NONE") return;
    this.#registers.set(reg.STATUS, command === undefined ? reg.NO_SUCH_COMMAND : this.#attempt(command));
    this.#event(reg.IRQ_DONE);
  }

  /** Returns an errno, 0 when all went well. */
  #attempt(command: reg.Command): number {
    const { warn } = this.#around;
    const what = `${command} of ${this.#plain(reg.COUNT)} at iova ${hex(this.#iova)}`;
    try {
      const refusal = this.#command(command);
      if (refusal !== 0) warn(`${what} ends with ${errnoName(refusal)}: ${reg.REFUSALS.get(refusal)}`);
      return refusal;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      warn(`${what} ends with ${error.code}: ${error.reason}`);
      return error.errno;
    }
  }

  #command(command: reg.Command): number {
    const count = this.#plain(reg.COUNT);
    const page = BigInt(this.#around.memory.pageSize);
    const iova = this.#iova;
    switch (command) {
      case "PIN":
        this.#held.pin(iova - (iova % page), count, (this.#plain(reg.FLAGS) & reg.FLAG_WRITE) !== 0);
        return 0;
      case "UNPIN":
        return this.#held.unpin(iova - (iova % page), count) ? 0 : reg.NOT_PINNED;
      case "UNPIN_ALL":
        this.#held.releaseAll();
        return 0;
      default:
        return this.#transfer(command, iova, this.#plain(reg.OFFSET), count);
    }
  }

  #transfer(command: reg.Command, iova: bigint, offset: number, count: number): number {
    if (offset + count > reg.BUFFER_SIZE) return reg.BEYOND_BUFFER;
    switch (command) {
      case "READ_PINNED": {
        const pieces = this.#held.pieces(iova, count);
        if (pieces === undefined) return reg.NOT_PINNED;
        const bytes = new Uint8Array(count);
        for (const { held, offset: at, done, length } of pieces)
          held.page.read(at, bytes.subarray(done, done + length));
        this.#store(offset, bytes);
        return 0;
      }
      case "WRITE_PINNED": {
        const pieces = this.#held.pieces(iova, count);
        if (pieces === undefined) return reg.NOT_PINNED;
        if (pieces.some(({ held }) => !held.isWritable)) return reg.PINNED_READ_ONLY;
        const bytes = this.#load(offset, count);
        for (const { held, offset: at, done, length } of pieces)
          held.page.write(at, bytes.subarray(done, done + length));
        return 0;
      }
      case "READ": {
        const bytes = new Uint8Array(count);
        this.#around.memory.read(iova, bytes);
        this.#store(offset, bytes);
        return 0;
      }
      case "DMA_READ": {
        const bytes = new Uint8Array(count);
        if (!this.#around.dma!.dmaRead(iova, bytes, this.#pasid)) return reg.DMA_FAULT;
        this.#store(offset, bytes);
        return 0;
      }
      case "DMA_WRITE":
        return this.#around.dma!.dmaWrite(iova, this.#load(offset, count), this.#pasid) ? 0 : reg.DMA_FAULT;
      default:
        this.#around.memory.write(iova, this.#load(offset, count));
        return 0;
    }
  }

  get #pasid(): PasidRequest | undefined {
    const value = this.#plain(reg.PASID) >>> 0;
    if (value < reg.PASID_ENABLE) return undefined;
    return { pasid: value & reg.PASID_MASK, ats: false, privileged: false };
  }

  get #iova(): bigint {
    return (BigInt(this.#plain(reg.IOVA_HIGH)) << 32n) | BigInt(this.#plain(reg.IOVA_LOW));
  }

  #load(offset: number, count: number): Uint8Array {
    return Uint8Array.from({ length: count }, (_, i) => Number(this.#buffer.read(offset + i, 1)));
  }

  #store(offset: number, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) this.#buffer.write(offset + i, 1, BigInt(byte));
  }
}
