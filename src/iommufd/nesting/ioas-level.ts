import type { DmaTarget } from "../../iommu/dma-target.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import { type Refused, refuse } from "../../iommu/vtd/access.ts";
import type { FaultReason } from "../../iommu/vtd/fault-reasons.ts";
import type { SecondLevel, SecondLevelHit } from "../../iommu/vtd/second-level.ts";
import type { Hwpt } from "../devices/hwpt.ts";

const SMALLEST_SHIFT = 12;

/**
 * The mappings of an address space as the IOMMU of PASIDs walks them for one page table: "host physical" addresses are IOVAs, which the page
 * table's own DMA leads to memory. Over first-stage tables its faults are those of the first stage.
 */
export class IoasLevel implements SecondLevel {
  readonly denial: FaultReason;
  readonly #table: Hwpt["ioas"]["table"];
  readonly #unit: IommuUnit;
  readonly #isSecondStage: boolean;
  readonly #dma: DmaTarget;
  readonly #shifts: readonly number[];

  constructor({ ioas, unit, isSecondStage, dma }: Hwpt) {
    this.#table = ioas.table;
    this.#unit = unit;
    this.#isSecondStage = isSecondStage;
    this.#dma = dma;
    this.denial = isSecondStage ? "secondPermission" : "noWrite";
    this.#shifts = [30, 21].filter((shift) => (unit.pageSizes & (1n << BigInt(shift))) !== 0n);
  }

  translate(address: bigint): SecondLevelHit | Refused {
    if (address > this.#unit.apertureLast) return refuse(this.#isSecondStage ? "beyondSecond" : "notCanonical");
    const area = this.#table.areas.meeting(address, address);
    if (!area) return refuse(this.#isSecondStage ? "secondPermission" : "notPresent");
    const fits = this.#shifts.find((shift) => {
      const bytes = 1n << BigInt(shift);
      const start = address - (address % bytes);
      return start >= area.start && start + bytes - 1n <= area.last;
    });
    const { writeable: write } = area;
    const read = area.readable || (write && this.#unit.writeImpliesRead);
    return { address, shift: fits ?? SMALLEST_SHIFT, read, write };
  }

  read(address: bigint, into: Uint8Array): boolean {
    return this.#dma.read(address, into) === undefined;
  }

  write(address: bigint, from: Uint8Array): boolean {
    return this.#dma.write(address, from) === undefined;
  }
}
