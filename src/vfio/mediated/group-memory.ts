import type { MediatedMemory, PinnedPage } from "../../devices/mediated/mediated-model.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { DmaUnmapListener, MediatedAccess } from "../backend.ts";
import type { VfioGroup } from "../group.ts";

/**
 * What a mediated device's driver reaches memory through: the container that its group is in while the device is open,
 * or the iommufd that it is bound to. It works in the context of whoever calls it.
 */
export class GroupMemory implements MediatedMemory {
  readonly pageSize: number;
  readonly #group: VfioGroup;
  readonly #device: string;
  #caller: Task | undefined;
  /** Neither the container nor the iommufd can change while the device is open. */
  #access: MediatedAccess | undefined;

  constructor(group: VfioGroup, device: string, pageSize: number) {
    this.#group = group;
    this.#device = device;
    this.pageSize = pageSize;
  }

  /** The device is opened: from now on its driver hears of mappings that go (vfio_device_container_register). */
  attach(listener: DmaUnmapListener | undefined): void {
    this.#access = this.#group.mediatedAccess(this.#device);
    if (listener) this.#access?.register(listener);
  }

  detach(listener: DmaUnmapListener | undefined): void {
    if (listener) this.#access?.unregister(listener);
    this.#access = undefined;
  }

  /** Does something on behalf of a caller. */
  during<T>(caller: Task, call: () => T): T {
    this.#caller = caller;
    try {
      return call();
    } finally {
      this.#caller = undefined;
    }
  }

  pin(iova: bigint, pages: number, write: boolean): readonly PinnedPage[] {
    return this.#reach().pinPages(this.#caller, this.#group.dma, iova, pages, write);
  }

  unpin(iova: bigint, pages: number): void {
    this.#access?.unpinPages(iova, pages);
  }

  read(iova: bigint, into: Uint8Array): void {
    this.#reach().read(this.#caller, iova, into);
  }

  write(iova: bigint, from: Uint8Array): void {
    this.#reach().write(this.#caller, iova, from);
  }

  #reach(): MediatedAccess {
    const { container, label } = this.#group;
    if (this.#access) return this.#access;
    if (container) {
      fail("ENOTTY", `${label} is in a ${container.backend?.name} container, which has no memory for mediated devices`);
    }
    // vfio_main.c:vfio_pin_pages, vfio_dma_rw: an IOMMU translates for the device, so its driver has no access of its
    // own
    fail("EINVAL", `${label} has an IOMMU, through which the iommufd serves it: its driver cannot pin or copy`);
  }
}
