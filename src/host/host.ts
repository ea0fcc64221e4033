import { DeviceClock } from "../devices/device-clock.ts";
import type { NewDeviceKind } from "../devices/kind.ts";
import { kindsWith } from "../devices/kinds.ts";
import type { PciFunction } from "../devices/pci/function.ts";
import { FunctionErrors } from "../devices/pci/function-errors.ts";
import type { DmaGroup } from "../iommu/dma-group.ts";
import { nestingIommusOf } from "../iommu/kinds.ts";
import type { NestingIommus, NestingUse } from "../iommu/nesting-iommus.ts";
import { PasidPool } from "../iommu/pasid-pool.ts";
import { isLittleEndian } from "../kernel/arch.ts";
import { fail } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { DeviceNode, HostKernel } from "../kernel/host-kernel.ts";
import { ModuleParameters } from "../kernel/module-parameters.ts";
import { Release, releaseWarning } from "../kernel/releases.ts";
import type { Task } from "../kernel/task.ts";
import { checkModels } from "../machine/check-models.ts";
import { deviceNodes } from "../machine/device-nodes.ts";
import type { HostDescription } from "../machine/host-description.ts";
import { refusedDrivers } from "../machine/refused-driver.ts";
import { isForSelftests } from "../machine/selftest-host.ts";
import { vfioPciParameters } from "../machine/sysfs/modules.ts";
import { SysfsFiles } from "../machine/sysfs/sysfs-files.ts";
import { type IoctlEncoding, plainRequest } from "../uapi/ioctl.ts";
import type { VfioDevice } from "../vfio/device.ts";
import type { HostPart } from "../vfio/host-part.ts";
import { MediatedDevices } from "../vfio/mediated/mediated-devices.ts";
import type { ModelContext } from "../vfio/model-context.ts";
import type { ModelWatch } from "../vfio/model-watch.ts";
import { PciDevices } from "../vfio/pci/pci-devices.ts";
import { Requesters } from "../vfio/requesters.ts";
import type { LiveSpace } from "../vfio/space-view.ts";
import { discovered } from "./discovered.ts";
import type { DriverBinding } from "./driver-binding.ts";
import { HostDevices } from "./host-devices.ts";
import { whyMissing } from "./missing-node.ts";
import { hostParts } from "./parts.ts";
import { SaidOnce } from "./said-once.ts";
import type { ZpciSlots } from "./zpci-slots.ts";

/** What is in use of the IOMMUs of a host. */
export interface IommuUse extends NestingUse {
  /** PASIDs of the host's pool. */
  readonly pasids: number;
  /** PASIDs that guests have chosen. */
  readonly chosenPasids: number;
}

/** What a host is booted with, beside its description. */
export interface HostOptions {
  /** Where warnings go: what a person should know although a call succeeded. */
  readonly onWarning?: (message: string) => void;
  /** Say a warning each time, and not once (SaidOnce). */
  readonly everyWarning?: boolean;
  /** Who hears what devices do by themselves. */
  readonly watch?: ModelWatch;
  /** The time of its devices, milliseconds; the machine's own when left out. It also goes on by `deviceWork.pass()`. */
  readonly now?: () => number;
  /** Further kinds of devices, by the names that a description's `model` calls them. */
  readonly models?: Readonly<Record<string, NewDeviceKind>>;
}

/** A device, and what it takes to use it without VFIO's files. */
export interface LentDevice {
  /** Opens it. */
  readonly device: VfioDevice;
  /** The function itself. */
  readonly target: PciFunction;
  /** Of its group: its user claims it, and says where DMA goes. */
  readonly dma: DmaGroup;
}

/**
 * A booted host: devices, groups and drivers as a HostDescription has them, and the files that programs reach them
 * through. What answers on its nodes are its parts (parts.ts).
 */
export class Host implements HostKernel {
  /** Its files: what /sys, and parts of /dev and /proc, consist of now. */
  readonly files: SysfsFiles;
  /** Module parameters as they are now. */
  readonly parameters = new ModuleParameters();
  /** What devices do by themselves. */
  readonly deviceWork: DeviceClock;
  /** As it booted. */
  readonly #boot: HostDescription;
  readonly #devices: HostDevices;
  readonly #pci: PciDevices;
  readonly #parts: readonly HostPart[];
  /** Made when it is first asked for: most programs never do. */
  #madeIommus: NestingIommus | undefined;
  readonly #pasids = new PasidPool();

  /** Who hears of requests before they are made. */
  declare before?: NonNullable<HostKernel["before"]>;

  /** Its functions that are in zPCI's error state. */
  readonly errors: FunctionErrors;

  /** Throws HostDescriptionError for a model that is unknown and options that it has not got. */
  constructor(described: HostDescription, options: HostOptions = {}) {
    const { watch, models } = options;
    const kinds = kindsWith(models);
    checkModels(described, kinds);
    const description = discovered(described, kinds);
    this.#boot = description;
    this.deviceWork = new DeviceClock(options.now, watch?.worked && ((pieces) => watch.worked!(pieces)));
    const warnings = new SaidOnce();
    const release = new Release(description.kernel);
    this.errors = new FunctionErrors(release.has("zpciRecovery"));
    const context: ModelContext = {
      release,
      errors: this.errors,
      arch: description.arch,
      pageSize: description.pageSize,
      clock: this.deviceWork,
      kinds,
      numberParameter: (name) => this.parameters.get(name),
      booleanParameter: (name) => this.parameters.get(name) !== 0,
      watch: options.watch,
      warn: (message) => {
        if (options.everyWarning || warnings.isNew(message)) options.onWarning?.(message);
      },
    };
    const newer = releaseWarning(description.kernel);
    if (newer !== undefined) context.warn(newer);
    const requesters = new Requesters(description);
    this.#pci = new PciDevices(description, context);
    for (const [name, value] of Object.entries(vfioPciParameters(description)))
      this.parameters.define(`vfio_pci/${name}`, "bool", value === "Y", false);
    this.#parts = hostParts({
      description,
      context: context,
      parameters: this.parameters,
      iommus: () => this.#iommus,
      pasids: this.#pasids,
      requesters,
      vfio: {
        groups: () => this.#devices.groups(),
        group: (id) => this.#devices.group(id),
        deviceAt: (index) => this.#devices.deviceAt(index),
      },
    });
    this.#devices = new HostDevices(description, {
      context,
      parameters: this.parameters,
      pci: this.#pci,
      mediated: new MediatedDevices(description, context),
      requesters,
      errors: this.errors,
      changed: (place) => this.files.change(place),
    });
    this.files = new SysfsFiles(() => this.description, this.#devices.state, kinds);
    this.#devices.boot();
    for (const line of refusedDrivers(description)) context.warn(line);
  }

  get #iommus(): NestingIommus {
    this.#madeIommus ??= nestingIommusOf(this.#boot.iommu);
    return this.#madeIommus;
  }

  /** As it is now: virtual functions come and go. */
  get description(): HostDescription {
    return this.#devices.description;
  }

  /** Which driver has which device. */
  get binding(): DriverBinding {
    return this.#devices.binding;
  }

  /** Empty on machines other than s390. */
  get slots(): ZpciSlots {
    return this.#devices.slots;
  }

  /** How this host's architecture encodes request numbers. */
  get ioctlEncoding(): IoctlEncoding {
    return this.description.arch === "ppc64le" ? "powerpc" : "plain";
  }

  get littleEndian(): boolean {
    return isLittleEndian(this.description.arch);
  }

  plainRequest(request: number): number {
    return plainRequest(request, this.ioctlEncoding) ?? request;
  }

  deviceNodes(): readonly DeviceNode[] {
    return deviceNodes(this.description, this.#devices.state).filter(({ path }) =>
      this.#parts.some((part) => part.hasNode(path)),
    );
  }

  open(task: Task, path: string, _flags: number): FileDescription {
    if (path.endsWith("/")) fail("EISDIR", `${path} is a directory`);
    for (const part of this.#parts) {
      const file = part.open(task, path);
      if (file) return file;
    }
    if (this.files.find(path)?.kind === "directory") fail("EISDIR", `${path} is a directory`);
    fail("ENOENT", `${path} is not on this host`);
  }

  /** A kernel that was built for its own tests. */
  get hasProcFiles(): boolean {
    return isForSelftests(this.#boot);
  }

  /** A thread's file in /proc that only this kernel has; undefined for others. */
  procFile(task: Task, thread: number, name: string): FileDescription | undefined {
    for (const part of this.#parts) {
      const file = part.procFile?.(task, thread, name);
      if (file) return file;
    }
    return undefined;
  }

  /** Why there is no node at a path below /dev, for a person: which group or driver is missing. */
  whyMissing(path: string): string {
    return whyMissing(path, this.description, (device) => this.binding.driverOf(device));
  }

  /** What devices have outside of this process ends; nothing of it answers any more. */
  close(): void {
    this.#pci.close();
  }

  /** What containers and iommufds have taken of what all of them share: nothing, once the last is closed. */
  get iommuUse(): IommuUse {
    return { ...this.#iommus.use, pasids: this.#pasids.size, chosenPasids: this.#pasids.chosen };
  }

  /** The IOMMU group of a device by its name (BDF or UUID). */
  groupOf(device: string): number | undefined {
    return this.#devices.groupOf(device);
  }

  /** A PCI function of the host, as the hardware that it is. */
  pciFunction(name: string): PciFunction | undefined {
    return this.#pci.topology.find(name);
  }

  /** See HostDevices. */
  rediscover(name: string, override?: string): boolean {
    return this.#devices.rediscover(name, override);
  }

  /** The path of a device's own node; undefined when it has none now. */
  deviceNodeOf(device: string): string | undefined {
    const index = this.#devices.state.indexes.get(device);
    const path = `/dev/vfio/devices/vfio${index}`;
    return index !== undefined && this.deviceNodes().some((node) => node.path === path) ? path : undefined;
  }

  /** The I/O address spaces that programs have now, for who looks on. */
  spaces(): LiveSpace[] {
    return this.#parts.flatMap((part) => part.spaces?.() ?? []);
  }

  /** Who has the group of a device, in words; undefined while nobody has, or where VFIO has no such group. */
  userOf(device: string): string | undefined {
    const group = this.#devices.group(this.groupOf(device) ?? -1);
    if (!group || group.use.by === "nobody") return undefined;
    if (group.use.by !== "nodes") return group.describeHolder();
    return group.inIommufd(device)?.iommufd.label;
  }

  /** A PCI device for who serves it to others than programs of this host. Undefined when no VFIO driver has it. */
  lend(name: string): LentDevice | undefined {
    const group = this.#devices.group(this.groupOf(name) ?? -1);
    const device = group?.devices.find((each) => each.name === name);
    const target = this.#pci.topology.find(name);
    return group && device && target && { device, target, dma: group.dma };
  }
}
