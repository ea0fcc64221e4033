import { hex } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import { regionOffset } from "../../vfio/pci/region.ts";
import type { Operation } from "../replay/operation.ts";

/** Where a replay maps devices, whose addresses in the program nobody knows: far from any program's memory. */
const DEVICES_ADDRESS = 0x6000_0000_0000;

/** The operations of writes, by their width in bytes. */
const WRITES: Readonly<Record<number, "w8" | "w16" | "w32" | "w64">> = { 1: "w8", 2: "w16", 4: "w32", 8: "w64" };

interface Mapped {
  readonly buf: string;
  readonly file: FileDescription;
  readonly offset: number;
  readonly length: number;
  /** Of a process that is not the first. */
  readonly process: number | undefined;
}

/** The device registers that programs have mapped, as buffers of a recording. */
export class MappedRegisters {
  readonly #pageSize: number;
  readonly #mapped: Mapped[] = [];
  #next = DEVICES_ADDRESS;

  constructor(pageSize: number) {
    this.#pageSize = pageSize;
  }

  /** An address for a mapping of `size` bytes. */
  reserve(size: number): number {
    const address = this.#next;
    this.#next += size + this.#pageSize;
    return address;
  }

  add(mapped: Mapped): void {
    this.#mapped.push(mapped);
  }

  /** The operation that a write to a mapped register is; undefined where no buffer has it. */
  write(device: string, region: number, offset: number, width: number, value: bigint): Operation | undefined {
    const at = regionOffset(region) + offset;
    const mapped = this.#mapped.find(
      (each) => each.file.label === `device ${device}` && at >= each.offset && at + width <= each.offset + each.length,
    );
    if (!mapped) return undefined;
    const { process } = mapped;
    const off = at - mapped.offset;
    return { op: WRITES[width]!, buf: mapped.buf, off, value: hex(value), ...(process !== undefined && { process }) };
  }
}
