import { PciTopology } from "../../devices/pci/topology.ts";
import type { IommuGroup } from "../../iommu/group.ts";
import { fail } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import type { HostDescription, MdevDeviceDescription } from "../../machine/host-description.ts";
import type { DmaUnmapListener } from "../backend.ts";
import type { VfioDevice } from "../device.ts";
import type { VfioGroup } from "../group.ts";
import type { ModelContext } from "../model-context.ts";
import { OpenDevice } from "../pci/open-device.ts";
import { type PciContext, pciContext } from "../pci/pci-context.ts";
import { createMediated, type MediatedFunction } from "./create-mediated.ts";
import { MediatedDeviceFile } from "./device-file.ts";
import { GroupMemory } from "./group-memory.ts";

/** The mediated devices of a host. */
export class MediatedDevices {
  readonly #host: HostDescription;
  readonly #context: PciContext;

  constructor(host: HostDescription, context: ModelContext) {
    this.#host = host;
    this.#context = pciContext(host, context);
  }

  /**
   * The driver of a mediated device takes it (its probe: vfio_register_emulated_iommu_dev).
   *
   * On a host that speaks a proposal with PASIDs it can also do DMA through the IOMMU: without a PASID by the one that
   * its aux domain has. A device that is not backed by an IOMMU (`iommu_backed`) reaches nothing so.
   */
  bind(description: MdevDeviceDescription, group: VfioGroup): VfioDevice {
    const memory = new GroupMemory(group, description.uuid, this.#context.pageSize);
    const made = createMediated(this.#host, description, memory, this.#context);
    if (this.#host.api !== "mainline") made.target.dma = group.dma.port(made.target.name);
    return new MediatedDevice(made, group.iommuGroup, memory, this.#context);
  }
}

/** A mediated device that shows itself as a PCI function. */
class MediatedDevice implements VfioDevice {
  readonly iommuGroup: IommuGroup;
  readonly #made: MediatedFunction;
  readonly #listener: DmaUnmapListener | undefined;
  readonly #memory: GroupMemory;
  readonly #context: PciContext;
  /** While any file for it is open. */
  #state: OpenDevice | undefined;
  #openCount = 0;

  constructor(made: MediatedFunction, iommuGroup: IommuGroup, memory: GroupMemory, context: PciContext) {
    const { model } = made;
    this.#made = made;
    this.iommuGroup = iommuGroup;
    this.#memory = memory;
    this.#context = context;
    this.#listener = model.dmaUnmap && { dmaUnmap: (iova, size) => model.dmaUnmap!(iova, size) };
  }

  get name(): string {
    return this.#made.target.name;
  }

  get isOpen(): boolean {
    return this.#openCount > 0;
  }

  matches(wanted: string): boolean {
    return wanted === this.name;
  }

  /** device_cdev.c:vfio_df_check_token: drivers of mediated devices know no tokens. */
  checkToken(uuid: Uint8Array | undefined): void {
    if (uuid) fail("EINVAL", `${this.name} is a mediated device: it takes no token`);
  }

  /** The drivers of mediated devices in samples/vfio-mdev have no such operation. */
  requestRelease(): boolean {
    return false;
  }

  open(_task: Task, released: () => void): FileDescription {
    this.#state ??= this.#firstOpen();
    this.#openCount++;
    return new MediatedDeviceFile(this.#state, this.#memory, () => {
      if (--this.#openCount === 0) this.#lastClose();
      released();
    });
  }

  #firstOpen(): OpenDevice {
    const { target } = this.#made;
    this.#memory.attach(this.#listener);
    return new OpenDevice(target, new PciTopology([target.name], () => target), this.#context, "mediated");
  }

  /** The driver resets the device, which gives back all that it holds, and only then stops to hear of mappings. */
  #lastClose(): void {
    this.#state!.close();
    this.#state = undefined;
    this.#memory.detach(this.#listener);
  }
}
