import type { FileDescription } from "../kernel/file-description.ts";
import type { Task } from "../kernel/task.ts";
import { DEFAULT_PASID_QUOTA } from "../machine/host-description.ts";
import type { IommuDriver } from "./backend.ts";
import { Container } from "./container.ts";
import type { HostGround, HostPart } from "./host-part.ts";
import { NestingHardware } from "./nesting/nesting-hardware.ts";
import { NOIOMMU_PARAMETER, NoIommuDriver } from "./noiommu.ts";
import { SpaprDriver } from "./spapr/driver.ts";
import { Type1Driver } from "./type1/driver.ts";

const PATH = "/dev/vfio/vfio";

/** /dev/vfio/vfio, where VFIO's own containers answer: not on a host whose iommufd stands in for them. */
export class ContainerNode implements HostPart {
  readonly #ground: HostGround;
  readonly #drivers: readonly IommuDriver[];
  readonly #isServed: boolean;

  constructor(ground: HostGround) {
    this.#ground = ground;
    this.#isServed = ground.description.vfioContainer !== "iommufd";
    if (this.#isServed) defineType1Parameters(ground);
    defineNoIommuParameter(ground);
    this.#drivers = loadDrivers(ground);
  }

  open(task: Task, path: string): FileDescription | undefined {
    return this.hasNode(path) ? new Container(this.#ground.context, this.#drivers, task) : undefined;
  }

  hasNode(path: string): boolean {
    return this.#isServed && path === PATH;
  }
}

/** vfio_iommu_type1.c: module_param_named(..., S_IRUGO | S_IWUSR) for all of them. */
function defineType1Parameters({ description, context, parameters }: HostGround): void {
  const { dmaEntryLimit, allowUnsafeInterrupts, disableHugepages } = description.modules.vfioIommuType1;
  if (context.release.has("dmaEntryLimit")) {
    parameters.define("vfio_iommu_type1/dma_entry_limit", "uint", dmaEntryLimit, true);
  }
  parameters.define("vfio_iommu_type1/allow_unsafe_interrupts", "bool", allowUnsafeInterrupts, true);
  parameters.define("vfio_iommu_type1/disable_hugepages", "bool", disableHugepages, true);
  if (description.api !== "mainline") {
    parameters.define("vfio_iommu_type1/pasid_quota", "uint", DEFAULT_PASID_QUOTA, true);
  }
}

/** The parameter exists exactly where the kernel was built with no-IOMMU mode. */
function defineNoIommuParameter({ description, context, parameters }: HostGround): void {
  const { enableUnsafeNoiommuMode } = description.modules.vfio;
  if (enableUnsafeNoiommuMode !== undefined && context.release.has("noiommuGroups"))
    parameters.define(NOIOMMU_PARAMETER, "bool", enableUnsafeNoiommuMode, true);
}

function loadDrivers(ground: HostGround): readonly IommuDriver[] {
  const { context, description, parameters } = ground;
  const { vfioContainer, iommu } = description;
  const drivers: IommuDriver[] = [
    vfioContainer === "spapr" ? new SpaprDriver(context, iommu) : new Type1Driver(context, nestingOf(ground)),
  ];
  if (parameters.has(NOIOMMU_PARAMETER)) drivers.push(new NoIommuDriver(context));
  return drivers;
}

/** What the proposals' containers share; undefined on a mainline host, or one whose container is not type1. */
function nestingOf({ description, iommus, pasids, requesters }: HostGround): NestingHardware | undefined {
  const { api, vfioContainer } = description;
  if (api === "mainline" || vfioContainer !== "type1") return undefined;
  const { proposed } = iommus();
  if (!proposed) throw new TypeError(`${api} knows no IOMMUs like this host's`);
  return new NestingHardware(api, proposed, pasids, requesters);
}
