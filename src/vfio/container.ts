import type { DmaGroup } from "../iommu/dma-group.ts";
import type { DmaOwner } from "../iommu/requester.ts";
import { fail, KernelError } from "../kernel/errors.ts";
import { FileDescription } from "../kernel/file-description.ts";
import { CAP_SYS_RAWIO, type Task } from "../kernel/task.ts";
import type { Word } from "../kernel/word.ts";
import type { RequestDialect } from "../uapi/requests/dialect.ts";
import { TYPE1_DIALECT } from "../uapi/requests/dialects.ts";
import { VFIO_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_GET_API_VERSION, VFIO_SET_IOMMU } from "../uapi/vfio.ts";
import type { IommuBackend, IommuDriver } from "./backend.ts";
import type { ModelContext } from "./model-context.ts";

/**
 * An open /dev/vfio/vfio (struct vfio_container). It lives on while groups are in it, after its descriptor is closed
 * too: mappings stay until the last group has left.
 */
export class Container extends FileDescription {
  override readonly kind = "container";
  readonly #context: ModelContext;
  readonly #drivers: readonly IommuDriver[];
  /** As the groups know it that it owns. */
  readonly #owner: DmaOwner;
  /** Who opened it. */
  readonly opener: Pick<Task, "name" | "pid">;
  /** Newest first, as the kernel lists and attaches them. */
  readonly #groups: DmaGroup[] = [];
  #backend: IommuBackend | undefined;
  /** Of the groups in it, or of the last that was: groups with and without an IOMMU never share a container. */
  #noiommu = false;

  constructor(context: ModelContext, drivers: readonly IommuDriver[], { name, pid }: Pick<Task, "name" | "pid">) {
    super();
    this.opener = { name, pid };
    this.#context = context;
    this.#drivers = drivers;
    this.#owner = { label: `the container of process ${name}, pid ${pid}` };
  }

  /** "spapr container" once it has its IOMMU. */
  override get label(): string {
    return this.#backend ? `${this.#backend.name} container` : "container";
  }

  /** Its IOMMU's; before it has one, that of the driver that this host's IOMMU goes with. */
  override get dialect(): RequestDialect {
    return (this.#backend ?? this.#drivers[0])?.dialect ?? TYPE1_DIALECT;
  }

  get hasIommu(): boolean {
    return this.#backend !== undefined;
  }

  /** The groups in it, newest first. */
  get groups(): readonly DmaGroup[] {
    return this.#groups;
  }

  get backend(): IommuBackend | undefined {
    return this.#backend;
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    switch (request) {
      case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
      case VFIO_CHECK_EXTENSION:
        return this.#checkExtension(arg);
      case VFIO_SET_IOMMU:
        return this.#setIommu(task, arg);
      default:
        if (!this.#backend) fail("EINVAL", "the container has no IOMMU yet: add a group and call VFIO_SET_IOMMU first");
        return this.#backend.ioctl(task, request, arg);
    }
  }

  /** Takes a group in; with an IOMMU set it is attached at once. Throws, and then nothing has changed. */
  attach(task: Task, group: DmaGroup): void {
    const noiommu = group.iommuGroup.kind === "noiommu";
    if (noiommu && !task.capable(CAP_SYS_RAWIO)) {
      fail("EPERM", `${group.label} has no IOMMU: its devices reach all memory, which takes CAP_SYS_RAWIO`);
    }
    if (this.#groups.length > 0 && noiommu !== this.#noiommu) {
      fail(
        "EPERM",
        `${group.label} cannot share a container with ${this.#groups[0]!.label}: one has an IOMMU, the other has none`,
      );
    }
    group.claim(this.#owner, this.#context.release);
    try {
      this.#backend?.attach(task, group);
    } catch (error) {
      group.unclaim(this.#owner);
      throw error;
    }
    if (this.#backend) connect(group, this.#backend);
    this.#noiommu = noiommu;
    this.#groups.unshift(group);
  }

  /** Lets a group go; with the last one the container is as new. */
  detach(group: DmaGroup): void {
    group.disconnect();
    this.#backend?.detach(group);
    group.unclaim(this.#owner);
    this.#groups.splice(this.#groups.indexOf(group), 1);
    if (this.#groups.length === 0) {
      this.#backend?.release();
      this.#backend = undefined;
    }
  }

  #checkExtension(extension: Word): number {
    if (this.#backend) return this.#backend.checkExtension(extension);
    for (const driver of this.#drivers) {
      if (this.#groups.length > 0 && !this.#allows(driver)) continue;
      const answer = driver.checkExtension(extension);
      if (answer > 0) return answer;
    }
    return 0;
  }

  #setIommu(task: Task, type: Word): number {
    if (this.#groups.length === 0) fail("EINVAL", "the container has no group: VFIO_GROUP_SET_CONTAINER comes first");
    if (this.#backend) fail("EINVAL", `the container has its IOMMU (${this.#backend.name}) already`);
    let error: KernelError | undefined;
    for (const driver of this.#drivers) {
      // a driver that claims the number is asked, and its refusal counts unless another takes it
      if (!this.#allows(driver) || driver.checkExtension(type) <= 0) continue;
      try {
        const backend = this.#open(task, driver, type);
        this.#backend = backend;
        for (const group of this.#groups) connect(group, backend);
        return 0;
      } catch (refusal) {
        if (!(refusal instanceof KernelError)) throw refusal;
        error = refusal;
      }
    }
    throw error ?? new KernelError("ENODEV", `no IOMMU driver of this host offers type ${type}`);
  }

  /** container.c:vfio_iommu_driver_allowed */
  #allows(driver: IommuDriver): boolean {
    return driver.forNoIommu === this.#noiommu;
  }

  #open(task: Task, driver: IommuDriver, type: Word): IommuBackend {
    const backend = driver.open(task, type);
    const attached: DmaGroup[] = [];
    try {
      for (const group of this.#groups) {
        backend.attach(task, group);
        attached.push(group);
      }
    } catch (error) {
      for (const group of attached.reverse()) backend.detach(group);
      backend.release();
      throw error;
    }
    return backend;
  }
}

function connect(group: DmaGroup, backend: IommuBackend): void {
  group.connect((device) => backend.reach(group, device));
}
