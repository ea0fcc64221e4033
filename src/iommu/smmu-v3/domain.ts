import { PAGE_SIZE } from "../../address/pages.ts";
import type { DmaFault, DmaTarget } from "../dma-target.ts";
import { MappedDma, type Met, pieceOf, refused } from "../dma-walk.ts";
import type { IommuDomain, Mappings, Stage } from "../domain.ts";
import type { Place, Requester } from "../requester.ts";
import { SecondStage } from "./memory.ts";
import { Tlb } from "./tlb.ts";

/** Hears what comes and goes in the SMMUs of a host. */
export interface PlaceCount {
  count(places: 1 | -1): void;
}

/**
 * A page table over the mappings of an address space in an SMMU (struct arm_smmu_domain). One that others are nested on
 * has a VMID, under which the SMMU remembers their translations, as long as any device is attached to it or to one of
 * them.
 */
export class SmmuDomain implements IommuDomain {
  readonly second: SecondStage;
  readonly tlb = new Tlb();
  readonly counts: PlaceCount;
  readonly #mappings: Mappings;
  #users = 0;

  constructor(counts: PlaceCount, mappings: Mappings, { last }: Stage) {
    this.counts = counts;
    this.#mappings = mappings;
    this.second = new SecondStage(mappings, last);
  }

  attach(requester: Requester, _pasid: number): Place {
    const end = this.hold();
    this.counts.count(1);
    const target = new MappedTarget(this.#mappings);
    let isLeft = false;
    return {
      requester,
      reach: () => target,
      leave: () => {
        if (isLeft) return;
        isLeft = true;
        this.counts.count(-1);
        end();
      },
    };
  }

  reserve(): () => void {
    return this.hold();
  }

  /**
   * A device is attached. Returns how to end that: with the last one its VMID is in use no more, and nothing is
   * remembered under it (arm-smmu-v3.c:arm_smmu_install_old_domain_invs).
   */
  hold(): () => void {
    this.#users++;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      if (--this.#users === 0) this.tlb.clear();
    };
  }

  flush(): void {
    this.tlb.clear();
  }

  /** The SMMU cannot tell what of a guest's addresses a part of stage 2 is behind (arm_smmu_tlb_inv_range_domain). */
  flushRange(): void {
    this.tlb.clear();
  }
}

/** Requests that this page table alone translates. */
class MappedTarget extends MappedDma implements DmaTarget {
  readonly #mappings: Mappings;

  constructor(mappings: Mappings) {
    super();
    this.#mappings = mappings;
  }

  override meet(page: number, within: number, bytes: Uint8Array, done: number, write: boolean): Met<DmaFault> {
    const piece = pieceOf(bytes, done, PAGE_SIZE - within);
    const found = this.#mappings.find(page);
    const isAllowed = found && (write ? found.write : found.read);
    if (!isAllowed) return refused(piece.length, () => "SMMUv3: nothing is mapped there for this access");
    const isMoved = write ? this.#mappings.write(page, within, piece) : this.#mappings.read(page, within, piece);
    return isMoved ? piece.length : refused(piece.length, () => "the memory that is mapped there is gone");
  }
}
