import type { DmaGroup } from "../../iommu/dma-group.ts";
import { type DeviceDma, type DmaTarget, NoTarget } from "../../iommu/dma-target.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import type { CapabilityStructure } from "../../uapi/capability-chain.ts";
import type { RequestDialect } from "../../uapi/requests/dialect.ts";
import { VFIO_IOMMU_UNMAP_DMA } from "../../uapi/vfio-type1.ts";
import type { MappingBackend, MediatedAccess } from "../backend.ts";
import type { Type1Iommu } from "../type1/iommu.ts";
import { nestingCapability } from "./info-capability.ts";
import { iommuOp } from "./iommu-op.ts";
import { NestingContainer, type Opener } from "./nesting-container.ts";
import type { NestingHardware } from "./nesting-hardware.ts";
import { opCapability } from "./op-probe.ts";
import { vsvaV1, vsvaV7 } from "./vsva-requests.ts";

/** A container of type1 on a host that speaks one of the proposals: type1's backend, with what they add around it. */
export class NestingBackend implements MappingBackend {
  readonly name = "type1";
  readonly dialect: RequestDialect;
  readonly mediated: MediatedAccess;
  readonly dma: DmaTarget;
  readonly #inner: MappingBackend;
  readonly #iommu: Type1Iommu;
  readonly container: NestingContainer;
  /** Opened as VFIO_TYPE1_NESTING_IOMMU. */
  readonly #isNesting: boolean;

  /** @param isNesting opened as VFIO_TYPE1_NESTING_IOMMU */
  constructor(inner: MappingBackend, iommu: Type1Iommu, hardware: NestingHardware, isNesting: boolean, opener: Opener) {
    this.#inner = inner;
    this.#iommu = iommu;
    this.#isNesting = isNesting;
    this.container = new NestingContainer(hardware, iommu, inner.dma, opener);
    this.dialect = hardware.dialect(iommu.context.release, isNesting);
    this.mediated = inner.mediated;
    this.dma = inner.dma;
    if (hardware.profile === "rfc-2017" || (hardware.profile === "vsva-v7" && isNesting))
      iommu.proposedCapabilities = [(_iommu, littleEndian) => this.#capability(littleEndian)];
  }

  get space() {
    return this.#inner.space;
  }

  attach(task: Task, group: DmaGroup): void {
    if (this.#isNesting) this.#refuse(group);
    // first, because it can be undone without a trace: type1 marks pages dirty when a group leaves
    this.container.join(group);
    try {
      this.#inner.attach(task, group);
    } catch (error) {
      this.container.leave(group);
      throw error;
    }
  }

  detach(group: DmaGroup): void {
    this.container.leave(group);
    this.#inner.detach(group);
    this.container.secondLevelChanged();
  }

  reach(group: DmaGroup, device: string): DeviceDma {
    return (
      this.container.reach(group, device) ?? new NoTarget(`${device} has no IOMMU here that could translate for it`)
    );
  }

  ioctl(task: Task, request: number, arg: Word): number {
    const answer = this.#proposed(task, request, arg);
    if (answer !== undefined) return answer;
    try {
      return this.#inner.ioctl(task, request, arg);
    } finally {
      // also when it failed half way: mappings may be gone all the same
      if (request === VFIO_IOMMU_UNMAP_DMA) this.container.secondLevelChanged();
    }
  }

  checkExtension(extension: Word): number {
    return this.#inner.checkExtension(extension);
  }

  release(): void {
    this.container.release();
    this.#inner.release();
  }

  #proposed(task: Task, request: number, arg: Word): number | undefined {
    const { context } = this.#iommu;
    const container = this.container;
    switch (container.hardware.profile) {
      case "vsva-v1":
        return this.#isNesting ? vsvaV1(container, context, task, request, arg) : undefined;
      case "vsva-v7":
        return this.#isNesting ? vsvaV7(container, context, task, request, arg) : undefined;
      case "rfc-2017":
        return iommuOp(container, task, request, arg);
    }
  }

  /** Nesting wants an IOMMU that has it; in v7 a nesting container holds one group. */
  #refuse(group: DmaGroup): void {
    const { unit } = group.iommuGroup;
    if (unit && !unit.hasPasidTables) {
      fail(
        unit.nesting,
        `${unit.label} of ${group.label} cannot nest translations (VFIO_TYPE1_NESTING_IOMMU); a host whose IOMMU has PASID tables can (VT-d in scalable mode)`,
      );
    }
    if (this.container.hardware.profile === "vsva-v7" && this.container.groups.length > 0) {
      fail(
        "EINVAL",
        `a nesting container of vsva-v7 holds one group, and ${this.container.groups[0]!.label} is here already`,
      );
    }
  }

  /** What there is to tell is known once a group is attached. */
  #capability(littleEndian: boolean): CapabilityStructure | undefined {
    if (this.container.hardware.profile === "rfc-2017") return opCapability(this.container);
    return this.#iommu.domains.length > 0 ? nestingCapability(littleEndian) : undefined;
  }
}
