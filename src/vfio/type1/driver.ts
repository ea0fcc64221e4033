import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { DmaTarget } from "../../iommu/dma-target.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import type { RequestDialect } from "../../uapi/requests/dialect.ts";
import { TYPE1_DIALECT } from "../../uapi/requests/dialects.ts";
import {
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_CC_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1_NESTING_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
  VFIO_UPDATE_VADDR,
} from "../../uapi/vfio.ts";
import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from "../../uapi/vfio-type1.ts";
import type { IommuBackend, IommuDriver, MappingBackend, MediatedAccess } from "../backend.ts";
import type { ModelContext } from "../model-context.ts";
import { NestingBackend } from "../nesting/nesting-backend.ts";
import type { NestingHardware } from "../nesting/nesting-hardware.ts";
import { attachGroup, detachGroup } from "./attach.ts";
import { dirtyPages } from "./dirty-pages.ts";
import { Type1Dma } from "./dma.ts";
import { getInfo } from "./get-info.ts";
import { Type1Iommu } from "./iommu.ts";
import { mapDma } from "./map-dma.ts";
import { accessMemory, pinPages, unpinPages } from "./pin-pages.ts";
import { Type1Space } from "./space.ts";
import { unmapDma } from "./unmap-dma.ts";

/** The kernel module vfio_iommu_type1. */
export class Type1Driver implements IommuDriver {
  readonly forNoIommu = false;
  readonly #context: ModelContext;
  /** On a host that speaks a proposal (the description's `api`). */
  readonly #hardware: NestingHardware | undefined;

  constructor(context: ModelContext, hardware?: NestingHardware) {
    this.#context = context;
    this.#hardware = hardware;
  }

  get dialect(): RequestDialect {
    return this.#hardware?.dialect(this.#context.release, true) ?? TYPE1_DIALECT;
  }

  /** Without a container's state: what the driver can do at all (vfio_iommu_type1_check_extension with no iommu). */
  checkExtension(extension: Word): number {
    if (this.#hardware && extension === VFIO_TYPE1_NESTING_IOMMU) return 1;
    return checkExtension(this.#context, extension, undefined);
  }

  open(task: Task, type: Word): IommuBackend {
    const context = this.#context;
    const nesting = type === VFIO_TYPE1_NESTING_IOMMU;
    if (type !== VFIO_TYPE1_IOMMU && type !== VFIO_TYPE1v2_IOMMU && !nesting) {
      fail(
        "EINVAL",
        `extension ${type} is a feature that type1 has, not an IOMMU type (types are 1, 3 and, on old kernels, 6)`,
      );
    }
    // read once, here: later writes to the parameter concern other containers only
    const limit = context.release.has("dmaEntryLimit")
      ? context.numberParameter("vfio_iommu_type1/dma_entry_limit")
      : Number.POSITIVE_INFINITY;
    const hardware = this.#hardware;
    // with a proposal it is its backend that says which groups nest
    const iommu = new Type1Iommu(context, type !== VFIO_TYPE1_IOMMU, limit, nesting && !hardware);
    const backend = new Type1Backend(iommu);
    return hardware
      ? new NestingBackend(backend, iommu, hardware, nesting, { name: task.name, pid: task.pid })
      : backend;
  }
}

/** A container's type1 state behind its requests. */
class Type1Backend implements MappingBackend {
  readonly name = "type1";
  readonly dialect = TYPE1_DIALECT;
  readonly #iommu: Type1Iommu;

  readonly mediated: MediatedAccess;
  readonly dma: DmaTarget;
  readonly space: Type1Space;

  constructor(iommu: Type1Iommu) {
    this.#iommu = iommu;
    this.space = new Type1Space(iommu);
    this.mediated = mediatedAccess(iommu);
    this.dma = new Type1Dma(iommu);
  }

  reach({ iommuGroup }: DmaGroup): DmaTarget | undefined {
    return iommuGroup.kind === "iommu" ? this.dma : undefined;
  }

  attach(task: Task, group: DmaGroup): void {
    attachGroup(this.#iommu, task, group);
  }

  detach(group: DmaGroup): void {
    detachGroup(this.#iommu, group);
  }

  ioctl(task: Task, request: number, arg: Word): number {
    const iommu = this.#iommu;
    switch (request) {
      case VFIO_IOMMU_MAP_DMA:
        return mapDma(iommu, task, arg);
      case VFIO_IOMMU_UNMAP_DMA:
        return unmapDma(iommu, task, arg);
      case VFIO_IOMMU_GET_INFO:
        return getInfo(iommu, task, arg);
      case VFIO_IOMMU_DIRTY_PAGES:
        if (iommu.context.release.has("dirtyPages")) return dirtyPages(iommu, task, arg);
        break;
      case VFIO_CHECK_EXTENSION:
        return this.checkExtension(arg);
    }
    fail("ENOTTY", `a type1 container knows no request ${hex(request)}`);
  }

  checkExtension(extension: Word): number {
    return checkExtension(this.#iommu.context, extension, this.#iommu);
  }

  release(): void {
    this.#iommu.removeAllMappings();
  }
}

function mediatedAccess(iommu: Type1Iommu): MediatedAccess {
  return {
    register: (listener) => {
      iommu.listeners.push(listener);
    },
    unregister: (listener) => {
      iommu.listeners.splice(iommu.listeners.indexOf(listener), 1);
    },
    pinPages: (caller, group, iova, count, write) => pinPages(iommu, caller, group, iova, count, write),
    unpinPages: (iova, count) => unpinPages(iommu, iova, count),
    read: (caller, iova, into) => accessMemory(iommu, caller, iova, into, false),
    write: (caller, iova, from) => accessMemory(iommu, caller, iova, from, true),
  };
}

function checkExtension({ release }: ModelContext, extension: Word, iommu: Type1Iommu | undefined): number {
  switch (extension) {
    case VFIO_TYPE1_IOMMU:
      return 1;
    case VFIO_TYPE1v2_IOMMU:
      return release.has("type1v2") ? 1 : 0;
    case VFIO_TYPE1_NESTING_IOMMU:
      return release.has("nestingType") ? 1 : 0;
    case VFIO_UNMAP_ALL:
      return release.has("unmapAll") ? 1 : 0;
    case VFIO_UPDATE_VADDR:
      return release.has("updateVaddr") && iommu && iommu.emulatedGroups.length === 0 ? 1 : 0;
    case VFIO_DMA_CC_IOMMU:
      if (!release.has("cacheCoherencyExtension")) return 0;
      return iommu?.domains.every(({ unit }) => unit.cacheCoherent) ? 1 : 0;
    default:
      return 0;
  }
}
