import { DeviceClock } from "../devices/device-clock.ts";
import type { NewDeviceKind } from "../devices/kind.ts";
import { kindsWith } from "../devices/kinds.ts";
import { unitOf } from "../iommu/describe-unit.ts";
import { DmaGroup } from "../iommu/dma-group.ts";
import type { IommuGroup } from "../iommu/group.ts";
import { nestingIommusOf } from "../iommu/kinds.ts";
import type { NestingIommus, NestingUse } from "../iommu/nesting-iommus.ts";
import { PasidPool } from "../iommu/pasid-pool.ts";
import { isLittleEndian } from "../kernel/arch.ts";
import { fail, KernelError } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { FileTree } from "../kernel/file-tree.ts";
import type { DeviceNode, HostKernel } from "../kernel/host-kernel.ts";
import { ModuleParameters } from "../kernel/module-parameters.ts";
import { Release, releaseWarning } from "../kernel/releases.ts";
import type { Task } from "../kernel/task.ts";
import { checkModels } from "../machine/check-models.ts";
import { deviceNodes, isVfioDriver, vfioDevices } from "../machine/device-nodes.ts";
import { deviceName, findGroup } from "../machine/find-device.ts";
import type { DeviceDescription, GroupDescription, HostDescription } from "../machine/host-description.ts";
import { probeRefusal, refusedDrivers } from "../machine/refused-driver.ts";
import { vfioPciParameters } from "../machine/sysfs/modules.ts";
import { sysfsTree } from "../machine/sysfs-tree.ts";
import { vmdControllerOf } from "../machine/vmd.ts";
import { type IoctlEncoding, plainRequest } from "../uapi/ioctl.ts";
import type { VfioDevice } from "../vfio/device.ts";
import { VfioGroup } from "../vfio/group.ts";
import type { HostPart } from "../vfio/host-part.ts";
import { MediatedDevices } from "../vfio/mediated/mediated-devices.ts";
import type { ModelContext } from "../vfio/model-context.ts";
import type { ModelWatch } from "../vfio/model-watch.ts";
import { NOIOMMU_PARAMETER } from "../vfio/noiommu.ts";
import { PciDevices } from "../vfio/pci/pci-devices.ts";
import { Requesters } from "../vfio/requesters.ts";
import { createDevice } from "./create-device.ts";
import { DriverBinding, isHostDriver } from "./driver-binding.ts";
import { hostParts } from "./parts.ts";
import { ZpciSlots } from "./zpci-slots.ts";

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
  /** Who hears what devices do by themselves. */
  readonly watch?: ModelWatch;
  /** Further kinds of devices, by the names that a description's `model` calls them. */
  readonly models?: Readonly<Record<string, NewDeviceKind>>;
}

/**
 * A booted host: devices, groups and drivers as a HostDescription has them, and the files that programs reach them through. What answers on its
 * nodes are its parts (parts.ts).
 */
export class Host implements HostKernel {
  /** What was booted. */
  readonly description: HostDescription;
  /** Its files: what /sys, and parts of /dev and /proc, consist of. */
  readonly tree: FileTree;
  /** Module parameters as they are now. */
  readonly parameters = new ModuleParameters();
  /** Which driver has which device. */
  readonly binding: DriverBinding;
  /** Empty on machines other than s390. */
  readonly slots: ZpciSlots;
  /** What devices do by themselves. */
  readonly deviceWork: DeviceClock;
  parameterReader?: (path: string) => string | undefined;
  readonly #context: ModelContext;
  readonly #pci: PciDevices;
  readonly #mediated: MediatedDevices;
  readonly #parts: readonly HostPart[];
  readonly #dmaGroups = new Map<number, DmaGroup>();
  readonly #groups = new Map<number, VfioGroup>();
  readonly #iommus: NestingIommus;
  readonly #pasids = new PasidPool();
  readonly #requesters: Requesters;
  readonly #descriptions = new Map<string, { readonly device: DeviceDescription; readonly group: number }>();

  /** Throws HostDescriptionError for a model that is unknown and options that it has not got. */
  constructor(description: HostDescription, options: HostOptions = {}) {
    this.description = description;
    const { watch, models } = options;
    const kinds = kindsWith(models);
    checkModels(description, kinds);
    this.tree = sysfsTree(description, undefined, kinds);
    this.deviceWork = new DeviceClock(undefined, watch?.worked && ((pieces) => watch.worked!(pieces)));
    const warnings = new Set<string>();
    this.#context = {
      release: new Release(description.kernel),
      arch: description.arch,
      pageSize: description.pageSize,
      clock: this.deviceWork,
      kinds,
      numberParameter: (name) => this.#parameter(name),
      booleanParameter: (name) => this.#parameter(name) !== 0,
      watch: options.watch,
      warn: (message) => {
        if (warnings.has(message)) return;
        warnings.add(message);
        options.onWarning?.(message);
      },
    };
    const newer = releaseWarning(description.kernel);
    if (newer !== undefined) this.#context.warn(newer);
    this.#requesters = new Requesters(description);
    this.#pci = new PciDevices(description, this.#context);
    this.#mediated = new MediatedDevices(description, this.#context);
    this.#iommus = nestingIommusOf(description.iommu.model);
    for (const [name, value] of Object.entries(vfioPciParameters(description)))
      this.parameters.define(`vfio_pci/${name}`, "bool", value === "Y", false);
    this.#parts = hostParts({
      description,
      context: this.#context,
      parameters: this.parameters,
      iommus: this.#iommus,
      pasids: this.#pasids,
      requesters: this.#requesters,
      vfio: { group: (id) => this.#groups.get(id), deviceAt: (index) => this.#deviceAt(index) },
    });
    this.binding = new DriverBinding({
      binding: (device, driver) => this.#refuseBinding(device, driver),
      bound: (device, driver) => this.#bound(device, driver),
      unbound: (device, driver) => this.#unbound(device, driver),
    });
    for (const group of description.groups) this.#addGroup(group);
    this.slots = new ZpciSlots(description, this.binding);
    for (const line of refusedDrivers(description)) this.#context.warn(line);
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
    return deviceNodes(this.description).filter(({ path }) => this.#parts.some((part) => part.hasNode(path)));
  }

  open(task: Task, path: string, _flags: number): FileDescription {
    if (path.endsWith("/") || this.tree.directories.includes(path)) fail("EISDIR", `${path} is a directory`);
    for (const part of this.#parts) {
      const file = part.open(task, path);
      if (file) return file;
    }
    fail("ENOENT", `${path} is not on this host`);
  }

  /** What containers and iommufds have taken of what all of them share: nothing, once the last is closed. */
  get iommuUse(): IommuUse {
    return { ...this.#iommus.use, pasids: this.#pasids.size, chosenPasids: this.#pasids.chosen };
  }

  /** The IOMMU group of a device by its name (BDF or UUID). */
  groupOf(device: string): number | undefined {
    return this.#descriptions.get(device)?.group;
  }

  /** A device by its number among those that VFIO had at boot; undefined when it has none of that number now. */
  #deviceAt(index: number): { readonly device: VfioDevice; readonly group: VfioGroup } | undefined {
    const found = vfioDevices(this.description)[index];
    if (!found || found.index !== index || !this.#context.release.has("deviceNodes")) return undefined;
    const group = this.#groups.get(found.group.id);
    const device = group?.devices.find(({ name }) => name === deviceName(found.device));
    // no-IOMMU groups' devices have no nodes of their own
    return group && device && group.iommuGroup.kind !== "noiommu" ? { device, group } : undefined;
  }

  /** A parameter's value now: what a program wrote into the transport's file counts when the kernel would have taken it. */
  #parameter(name: string): number {
    const [module, parameter] = name.split("/");
    const written = this.parameterReader?.(`${module}/parameters/${parameter}`);
    if (written !== undefined && written !== this.parameters.text(name)) {
      try {
        this.parameters.write(name, written);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        this.#context.warn(`/sys/module/${module}/parameters/${parameter} is ignored: ${error.reason}`);
      }
    }
    return this.parameters.get(name);
  }

  #addGroup(group: GroupDescription): void {
    const unit = unitOf(group.iommu ?? this.description.iommu, this.#context.release);
    const emulated = group.devices.some((device) => device.bus === "mdev" && !device.iommuBacked);
    const kind = emulated ? "emulated" : unit && !group.noIommu ? "iommu" : "noiommu";
    const iommuGroup = {
      id: group.id,
      kind,
      unit: kind === "iommu" ? unit : undefined,
      reservedRegions: group.reservedRegions,
      deviceNames: group.devices.map(deviceName),
    } as const;
    this.#dmaGroups.set(group.id, new DmaGroup(iommuGroup, this.#hostDrivers));
    for (const device of group.devices) {
      const name = deviceName(device);
      this.#descriptions.set(name, { device, group: group.id });
      this.binding.add(name, device.driver ?? undefined, device.bus === "pci" ? device.refusedDriver : undefined);
      // before no-IOMMU mode vfio-pci took no device without a group
      const isTaken = kind !== "noiommu" || this.#context.release.has("noiommuGroups");
      if (device.driver !== null && isTaken) this.#bound(name, device.driver);
    }
  }

  /** A VFIO driver cannot take a device without a group; a host driver cannot take a device whose group user space owns (drivers/iommu/iommu.c:iommu_device_use_default_domain). */
  #refuseBinding(device: string, driver: string): void {
    const described = this.#descriptions.get(device)!;
    const group = this.#dmaGroups.get(described.group)!;
    if (isVfioDriver(driver)) {
      const isOn = this.parameters.has(NOIOMMU_PARAMETER) && this.#parameter(NOIOMMU_PARAMETER) !== 0;
      const refusal = probeRefusal(this.description, this.#groupDescription(described.group), described.device, isOn);
      if (refusal !== undefined) fail("EINVAL", `${driver} cannot be bound to ${device}: ${refusal}`);
    }
    if (isHostDriver(driver) && group.isClaimed) {
      fail("EINVAL", `${driver} cannot have ${device}: ${group.label} belongs to user space`);
    }
  }

  #groupDescription(id: number): GroupDescription {
    return findGroup(this.description, id)!;
  }

  #bound(name: string, driver: string): void {
    if (!isVfioDriver(driver)) return;
    const { device, group: id } = this.#descriptions.get(name)!;
    const group = this.#groups.get(id) ?? new VfioGroup(this.#dmaGroups.get(id)!);
    this.#groups.set(id, group);
    group.devices.push(createDevice(device, group, this.#pci, this.#mediated));
  }

  #unbound(name: string, driver: string): void {
    if (!isVfioDriver(driver)) return;
    const id = this.#descriptions.get(name)!.group;
    const group = this.#groups.get(id)!;
    const index = group.devices.findIndex((device) => device.name === name);
    if (group.devices[index]!.isOpen) {
      fail("EBUSY", `${name} is open; a kernel would wait here until it is closed`);
    }
    group.devices.splice(index, 1);
    this.#pci.unbind(name);
    if (group.devices.length > 0) return;
    group.driversGone();
    this.#groups.delete(id);
  }

  /** What is behind a VMD controller is there only while the driver vmd has that: it is not for anybody to unbind. */
  #goesWithVmd(name: string): boolean {
    const controller = vmdControllerOf(this.description, this.#descriptions.get(name)!.device);
    return controller !== undefined && this.binding.driverOf(controller.bdf) === "vmd";
  }

  readonly #hostDrivers = {
    in: (group: IommuGroup): readonly string[] =>
      group.deviceNames.flatMap((name) => {
        const driver = this.binding.driverOf(name);
        if (!isHostDriver(driver) || this.#goesWithVmd(name)) return [];
        return [`${name} (${driver})`];
      }),
  };
}
