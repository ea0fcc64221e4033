import type { PinnedPage } from "../../devices/mediated/mediated-model.ts";
import type { DmaGroup } from "../../iommu/dma-group.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { DmaUnmapListener, MediatedAccess } from "../../vfio/backend.ts";
import type { IommufdContext } from "../context.ts";
import { Ioas } from "../ioas.ts";
import { TableAccess } from "../memory/table-access.ts";
import { IommufdObject } from "../object-table.ts";
import type { Binding } from "./binding.ts";

/** A mediated device whose driver uses mappings itself (struct iommufd_access, vfio_iommufd_emulated_bind). */
export class MediatedUser extends IommufdObject implements Binding, MediatedAccess {
  readonly #context: IommufdContext;
  readonly name: string;
  readonly #listeners = new Set<DmaUnmapListener>();
  #attached: { readonly ioas: Ioas; readonly access: TableAccess } | undefined;

  constructor(context: IommufdContext, name: string) {
    super();
    this.#context = context;
    this.name = name;
    context.objects.add(this);
    context.get();
    this.users++;
  }

  /** Drivers of mediated devices know none. */
  get pasids(): undefined {
    return undefined;
  }

  get memory(): MediatedAccess {
    return this;
  }

  get label(): string {
    return `mediated device ${this.name}`;
  }

  /** The address space that its driver uses. */
  get space(): object | undefined {
    return this.#attached?.ioas;
  }

  /**
   * Attaches, or moves: then its driver gives back what it holds of the old one (device.c:iommufd_access_change_ioas).
   * ENOENT for anything but an address space, EADDRINUSE.
   */
  attach(_task: Task, id: number): number {
    const ioas = this.#context.objects.find(id, Ioas, "ioas");
    if (ioas === this.#attached?.ioas) return id;
    const access = new TableAccess(ioas.table, (iova, length) => {
      for (const listener of this.#listeners) listener.dmaUnmap(iova, length);
    });
    this.detach();
    ioas.users++;
    this.#attached = { ioas, access };
    return id;
  }

  detach(): void {
    if (!this.#attached) return;
    const { ioas, access } = this.#attached;
    access.close();
    ioas.users--;
    this.#attached = undefined;
  }

  unbind(): void {
    this.detach();
    this.users--;
    this.#context.objects.destroy(this);
    this.#context.put();
  }

  destroy(): void {}

  register(listener: DmaUnmapListener): void {
    this.#listeners.add(listener);
  }

  unregister(listener: DmaUnmapListener): void {
    this.#listeners.delete(listener);
  }

  pinPages(
    caller: Task | undefined,
    _group: DmaGroup,
    iova: bigint,
    count: number,
    write: boolean,
  ): readonly PinnedPage[] {
    if (this.#listeners.size === 0) fail("EINVAL", `the driver of ${this.name} would not hear of mappings that go`);
    return this.#access.pin(caller, iova, count, write);
  }

  unpinPages(iova: bigint, count: number): void {
    this.#attached?.access.unpin(iova, count);
  }

  read(caller: Task | undefined, iova: bigint, into: Uint8Array): void {
    this.#access.read(caller, iova, into);
  }

  write(caller: Task | undefined, iova: bigint, from: Uint8Array): void {
    this.#access.write(caller, iova, from);
  }

  get #access(): TableAccess {
    return (
      this.#attached?.access ??
      fail("ENOENT", `${this.label} is not attached to an address space (VFIO_DEVICE_ATTACH_IOMMUFD_PT)`)
    );
  }
}
