import type { IommuDescription } from "../../iommu/description.ts";
import type { DmaGroup } from "../../iommu/dma-group.ts";
import type { DmaTarget } from "../../iommu/dma-target.ts";
import type { IommuGroup } from "../../iommu/group.ts";
import type { TceEndpoint, TceFacts } from "../../iommu/tce/endpoint.ts";
import { Ioda2Endpoint } from "../../iommu/tce/ioda2.ts";
import { LparEndpoint } from "../../iommu/tce/lpar.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { SPAPR_DIALECT } from "../../uapi/requests/dialects.ts";
import { VFIO_CHECK_EXTENSION, VFIO_EEH, VFIO_SPAPR_TCE_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU } from "../../uapi/vfio.ts";
import * as spapr from "../../uapi/vfio-spapr.ts";
import { VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA } from "../../uapi/vfio-type1.ts";
import type { IommuBackend, IommuDriver } from "../backend.ts";
import type { ModelContext } from "../model-context.ts";
import { attachGroup, detachGroup, releaseContainer } from "./attach.ts";
import { tceCreate } from "./create-window.ts";
import { TceDma } from "./dma.ts";
import { eehPeOp } from "./eeh.ts";
import { disable, enable } from "./enable.ts";
import { getInfo } from "./get-info.ts";
import { mapDma } from "./map-dma.ts";
import { registerMemory } from "./register-memory.ts";
import { tceRemove } from "./remove-window.ts";
import { TceSpace } from "./space.ts";
import { TceContainer } from "./tce-container.ts";
import { unmapDma } from "./unmap-dma.ts";
import { unregisterMemory } from "./unregister-memory.ts";

/** The kernel module vfio_iommu_spapr_tce on a booted host. */
export class SpaprDriver implements IommuDriver {
  readonly forNoIommu = false;
  readonly dialect = SPAPR_DIALECT;
  readonly #context: ModelContext;
  readonly #iommu: IommuDescription;
  /** What firmware remembers of a group outlives its containers. */
  readonly #endpoints = new Map<IommuGroup, TceEndpoint>();

  constructor(context: ModelContext, iommu: IommuDescription) {
    this.#context = context;
    this.#iommu = iommu;
  }

  checkExtension(extension: Word): number {
    switch (extension) {
      case VFIO_SPAPR_TCE_IOMMU:
        return 1;
      case VFIO_SPAPR_TCE_v2_IOMMU:
        return this.#context.release.has("spaprV2") ? 1 : 0;
      case VFIO_EEH:
        return this.#isPartition || !this.#context.release.has("eehExtension") ? 0 : 1;
      default:
        return 0;
    }
  }

  open(_task: Task, type: Word): IommuBackend {
    if (type !== VFIO_SPAPR_TCE_IOMMU && type !== VFIO_SPAPR_TCE_v2_IOMMU) {
      fail("EINVAL", `extension ${type} is a feature that sPAPR TCE has, not an IOMMU type (types are 2 and 7)`);
    }
    const container = new TceContainer(this.#context, type === VFIO_SPAPR_TCE_v2_IOMMU);
    return new SpaprBackend(container, this, (group) => this.#endpointOf(group));
  }

  get #isPartition(): boolean {
    return this.#iommu.spapr?.platform === "pseries";
  }

  #endpointOf({ iommuGroup }: DmaGroup): TceEndpoint | undefined {
    const { spapr: description, pageSizes } = this.#iommu;
    if (description === undefined || iommuGroup.kind !== "iommu") return undefined;
    let endpoint = this.#endpoints.get(iommuGroup);
    if (endpoint === undefined) {
      const facts: TceFacts = {
        dma32Start: description.dma32WindowStart,
        dma32Size: description.dma32WindowSize,
        maxDynamicWindows: description.maxDynamicWindows,
        levels: description.levels,
        pageSizes,
      };
      endpoint = this.#isPartition ? new LparEndpoint(facts) : new Ioda2Endpoint(facts, this.#context.pageSize);
      this.#endpoints.set(iommuGroup, endpoint);
    }
    return endpoint;
  }
}

/** A container's sPAPR state behind its requests. */
export class SpaprBackend implements IommuBackend {
  readonly name = "spapr";
  readonly dialect = SPAPR_DIALECT;
  readonly dma: DmaTarget;
  readonly space: TceSpace;
  readonly #container: TceContainer;
  readonly #driver: Pick<IommuDriver, "checkExtension">;
  readonly #endpointOf: (group: DmaGroup) => TceEndpoint | undefined;

  constructor(
    container: TceContainer,
    driver: Pick<IommuDriver, "checkExtension">,
    endpointOf: (group: DmaGroup) => TceEndpoint | undefined,
  ) {
    this.#container = container;
    this.#driver = driver;
    this.#endpointOf = endpointOf;
    this.dma = new TceDma(container);
    this.space = new TceSpace(container);
  }

  /** Its container takes none. */
  get mediated(): undefined {
    return undefined;
  }

  reach({ iommuGroup }: DmaGroup): DmaTarget | undefined {
    return iommuGroup.kind === "iommu" ? this.dma : undefined;
  }

  attach(_task: Task, group: DmaGroup): void {
    attachGroup(this.#container, group, this.#endpointOf(group));
  }

  detach(group: DmaGroup): void {
    detachGroup(this.#container, group);
  }

  ioctl(task: Task, request: number, arg: Word): number {
    const container = this.#container;
    if (request === VFIO_CHECK_EXTENSION) return this.checkExtension(arg);
    container.refuseOthers(task);
    switch (request) {
      case VFIO_IOMMU_MAP_DMA:
        return mapDma(container, task, arg);
      case VFIO_IOMMU_UNMAP_DMA:
        return unmapDma(container, task, arg);
      case spapr.VFIO_IOMMU_SPAPR_TCE_GET_INFO:
        return getInfo(container, task, arg);
      case spapr.VFIO_EEH_PE_OP:
        if (container.context.release.has("eehExtension")) return eehPeOp(container, task, arg);
        break;
    }
    return container.v2 ? this.#ioctlOfV2(task, request, arg) : this.#ioctlOfV1(task, request);
  }

  checkExtension(extension: Word): number {
    return this.#driver.checkExtension(extension);
  }

  release(): void {
    releaseContainer(this.#container);
  }

  #ioctlOfV1(task: Task, request: number): number {
    switch (request) {
      case spapr.VFIO_IOMMU_ENABLE:
        return enable(this.#container, task);
      case spapr.VFIO_IOMMU_DISABLE:
        return disable(this.#container);
    }
    fail("ENOTTY", `an sPAPR container of version 1 knows no request ${hex(request)}`);
  }

  #ioctlOfV2(task: Task, request: number, arg: Word): number {
    const container = this.#container;
    switch (request) {
      case spapr.VFIO_IOMMU_SPAPR_REGISTER_MEMORY:
        return registerMemory(container, task, arg);
      case spapr.VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY:
        return unregisterMemory(container, task, arg);
      case spapr.VFIO_IOMMU_SPAPR_TCE_CREATE:
        return tceCreate(container, task, arg);
      case spapr.VFIO_IOMMU_SPAPR_TCE_REMOVE:
        return tceRemove(container, task, arg);
    }
    fail("ENOTTY", `an sPAPR container of version 2 knows no request ${hex(request)}`);
  }
}
