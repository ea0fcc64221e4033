import { DeviceClock } from "../devices/device-clock.ts";
import type { NewDeviceKind } from "../devices/kind.ts";
import { kindsWith } from "../devices/kinds.ts";
import type { PciFunction } from "../devices/pci/function.ts";
import { FunctionErrors } from "../devices/pci/function-errors.ts";
import { unitOf } from "../iommu/describe-unit.ts";
import { DmaGroup } from "../iommu/dma-group.ts";
import type { IommuGroup } from "../iommu/group.ts";
import { nestingIommusOf } from "../iommu/kinds.ts";
import type { NestingIommus, NestingUse } from "../iommu/nesting-iommus.ts";
import { PasidPool } from "../iommu/pasid-pool.ts";
import { isLittleEndian } from "../kernel/arch.ts";
import { fail } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import { WaitsError } from "../kernel/host-files.ts";
import type { DeviceNode, HostKernel } from "../kernel/host-kernel.ts";
import { ModuleParameters } from "../kernel/module-parameters.ts";
import { Release, releaseWarning } from "../kernel/releases.ts";
import type { Task } from "../kernel/task.ts";
import { checkModels } from "../machine/check-models.ts";
import { deviceNodes, isVfioDriver } from "../machine/device-nodes.ts";
import { deviceName, findGroup } from "../machine/find-device.ts";
import type { DeviceDescription, GroupDescription, HostDescription } from "../machine/host-description.ts";
import { probeRefusal, refusedDrivers } from "../machine/refused-driver.ts";
import { isForSelftests } from "../machine/selftest-host.ts";
import { vfioPciParameters } from "../machine/sysfs/modules.ts";
import { SysfsFiles } from "../machine/sysfs/sysfs-files.ts";
import { physicalFunctions } from "../machine/virtual-functions.ts";
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
import { discovered } from "./discovered.ts";
import { type BootDevice, DriverBinding, isHostDriver } from "./driver-binding.ts";
import { whyMissing } from "./missing-node.ts";
import { hostParts } from "./parts.ts";
import { HostActions } from "./sysfs/host-actions.ts";
import { HostState } from "./sysfs/host-state.ts";
import { type MadeFunction, makeFunctions, withFunctions, withoutFunctions } from "./sysfs/virtual-functions.ts";
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
  /** Say a warning each time, and not once. */
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
  /** Which driver has which device. */
  readonly binding: DriverBinding;
  /** Empty on machines other than s390. */
  readonly slots: ZpciSlots;
  /** What devices do by themselves. */
  readonly deviceWork: DeviceClock;
  /** As it booted. */
  readonly #boot: HostDescription;
  #description: HostDescription;
  readonly #state: HostState;
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

  /** Its functions that are in zPCI's error state. */
  readonly errors: FunctionErrors;

  /** Throws HostDescriptionError for a model that is unknown and options that it has not got. */
  constructor(described: HostDescription, options: HostOptions = {}) {
    const { watch, models } = options;
    const kinds = kindsWith(models);
    checkModels(described, kinds);
    const description = discovered(described, kinds);
    this.#boot = description;
    this.#description = description;
    this.deviceWork = new DeviceClock(options.now, watch?.worked && ((pieces) => watch.worked!(pieces)));
    const warnings = new Set<string>();
    const release = new Release(description.kernel);
    this.errors = new FunctionErrors(release.has("zpciRecovery"));
    this.#context = {
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
        if (!options.everyWarning && warnings.has(message)) return;
        if (!options.everyWarning) warnings.add(message);
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
      claiming: (device, driver) => this.#refuseClaim(device, driver),
      probing: (device, driver) => this.#refuseProbe(device, driver),
      bound: (device, driver) => this.#bound(device, driver),
      unbound: (device, driver) => this.#unbound(device, driver),
      changed: (device) => this.#changed(device),
      refused: (device, driver, why) => this.#context.warn(`${driver} does not take ${device}: ${why}`),
    });
    this.slots = new ZpciSlots(description, this.binding);
    this.#state = new HostState(this.binding, this.slots, (state) => new HostActions(this.#actedOn(state)));
    this.files = new SysfsFiles(() => this.#description, this.#state, kinds);
    for (const group of description.groups) this.#addGroup(group);
    for (const line of refusedDrivers(description)) this.#context.warn(line);
  }

  /** As it is now: virtual functions come and go. */
  get description(): HostDescription {
    return this.#description;
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
    return deviceNodes(this.#description, this.#state).filter(({ path }) =>
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
    return whyMissing(path, this.#description, (device) => this.binding.driverOf(device));
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
    return this.#descriptions.get(device)?.group;
  }

  /** A PCI function of the host, as the hardware that it is. */
  pciFunction(name: string): PciFunction | undefined {
    return this.#pci.topology.find(name);
  }

  /**
   * Finds a device again that was removed, as a rescan does. False when it was not removed.
   * @param override its driver_override from the start; left out, none
   */
  rediscover(name: string, override?: string): boolean {
    if (!this.#state.removed.delete(name)) return false;
    this.#arrive(name, { override });
    return true;
  }

  /** The path of a device's own node; undefined when it has none now. */
  deviceNodeOf(device: string): string | undefined {
    const index = this.#state.indexes.get(device);
    const path = `/dev/vfio/devices/vfio${index}`;
    return index !== undefined && this.deviceNodes().some((node) => node.path === path) ? path : undefined;
  }

  /** A PCI device for who serves it to others than programs of this host. Undefined when no VFIO driver has it. */
  lend(name: string): LentDevice | undefined {
    const group = this.#groups.get(this.groupOf(name) ?? -1);
    const device = group?.devices.find((each) => each.name === name);
    const target = this.#pci.topology.find(name);
    return group && device && target && { device, target, dma: group.dma };
  }

  /** A device by its number among those that VFIO has; undefined when it has none of that number. */
  #deviceAt(index: number): { readonly device: VfioDevice; readonly group: VfioGroup } | undefined {
    const name = this.#state.indexes.keyOf(index);
    if (name === undefined || !this.#context.release.has("deviceNodes")) return undefined;
    const group = this.#groups.get(this.#descriptions.get(name)!.group);
    const device = group?.devices.find((each) => each.name === name);
    // no-IOMMU groups' devices have no nodes of their own
    return group && device && group.iommuGroup.kind !== "noiommu" ? { device, group } : undefined;
  }

  #addIommuGroup(group: GroupDescription): void {
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
  }

  #addGroup(group: GroupDescription): void {
    this.#addIommuGroup(group);
    const { kind } = this.#dmaGroups.get(group.id)!.iommuGroup;
    for (const device of group.devices) {
      const name = deviceName(device);
      this.#descriptions.set(name, { device, group: group.id });
      this.binding.add(name, bootDevice(device));
      // before no-IOMMU mode vfio-pci took no device without a group
      const isTaken = kind !== "noiommu" || this.#context.release.has("noiommuGroups");
      if (device.driver !== null && isTaken) this.#bound(name, device.driver);
    }
  }

  /** A VFIO driver cannot take a device without a group. */
  #refuseProbe(device: string, driver: string): void {
    if (!isVfioDriver(driver)) return;
    const described = this.#descriptions.get(device)!;
    const isOn = this.parameters.has(NOIOMMU_PARAMETER) && this.parameters.get(NOIOMMU_PARAMETER) !== 0;
    const refusal = probeRefusal(this.description, this.#groupDescription(described.group), described.device, isOn);
    if (refusal !== undefined) fail("EINVAL", `${driver} cannot be bound to ${device}: ${refusal}`);
  }

  /**
   * A host driver cannot take a device whose group user space owns
   * (drivers/iommu/iommu.c:iommu_device_use_default_domain).
   */
  #refuseClaim(device: string, driver: string): void {
    const group = this.#dmaGroups.get(this.#descriptions.get(device)!.group)!;
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
    this.#state.minors.take(id);
    this.#state.indexes.take(name);
  }

  #unbound(name: string, driver: string): void {
    // a driver that lets go of a physical function takes its virtual ones along
    // (vfio_pci_core.c:vfio_pci_core_unregister_device)
    if (physicalFunctions(this.#description).get(name)?.functions.length) this.#disableFunctions(name);
    if (!isVfioDriver(driver)) return;
    const id = this.#descriptions.get(name)!.group;
    const group = this.#groups.get(id)!;
    const index = group.devices.findIndex((device) => device.name === name);
    if (group.devices[index]!.isOpen) this.#askBack(group.devices[index]!);
    group.devices.splice(index, 1);
    this.#pci.unbind(name);
    this.#state.indexes.giveBack(name);
    if (group.devices.length > 0) return;
    group.driversGone();
    this.#groups.delete(id);
    this.#state.minors.giveBack(id);
  }

  /**
   * vfio_main.c:vfio_unregister_group_dev waits until a device is closed, and asks its user to do that
   * (vfio_pci_core.c:vfio_pci_core_request).
   */
  #askBack(device: VfioDevice): never {
    const how = device.requestRelease()
      ? "its user is asked to let go of it (REQ interrupt)"
      : "there is no device request channel registered: blocked until its user lets go of it";
    this.#context.warn(`${device.name}: ${how}`);
    throw new WaitsError("EBUSY", `${device.name} is open; a kernel would wait here until it is closed`);
  }

  /** Something of a device is not what it was. */
  #changed(name: string): void {
    const { device, group } = this.#descriptions.get(name)!;
    this.files.change(group);
    if (device.bus === "mdev") this.files.change("fixed");
  }

  #actedOn({ removed }: HostState): ConstructorParameters<typeof HostActions>[0] {
    const host = this;
    return {
      get description() {
        return host.#description;
      },
      parameters: this.parameters,
      binding: this.binding,
      slots: this.slots,
      errors: this.errors,
      pci: this.#pci,
      removed,
      arrive: (device) => this.#arrive(device),
      changed: (device) => this.#changed(device),
      enableFunctions: (physical, count) => this.#enableFunctions(physical, count),
      disableFunctions: (physical) => this.#disableFunctions(physical),
    };
  }

  /** A device of the description is found again. */
  #arrive(name: string, how: { readonly override?: string | undefined; readonly isProbed?: boolean } = {}): void {
    const { override, isProbed = true } = how;
    const boot = bootDevice(this.#descriptions.get(name)!.device);
    this.binding.add(name, { ...boot, driver: undefined, override });
    this.#changed(name);
    if (isProbed) this.binding.arrive(name);
  }

  #enableFunctions(physical: string, count: number): void {
    const { kinds } = this.#context;
    const about = physicalFunctions(this.#description).get(physical)!;
    const made = makeFunctions(this.#boot, this.#description, about, { count, kinds });
    this.#describe(withFunctions(this.#description, made));
    this.#pci.showFunctions(physical, count);
    const isOurs = this.binding.driverOf(physical) === "vfio-pci";
    for (const one of made) this.#addFunction(one);
    // vfio-pci wants the functions that it makes for itself (vfio_pci_core.c:vfio_pci_bus_notifier)
    for (const { device } of made) {
      const isProbed = isOurs || this.#state.actions.functionsAutoprobe(physical);
      this.#arrive(device.bdf, { override: isOurs ? "vfio-pci" : undefined, isProbed });
    }
    this.#changed(physical);
  }

  #addFunction({ device, group }: MadeFunction): void {
    this.#pci.add(this.#description, device, group.id);
    this.#requesters.add(this.#description, device);
    this.#descriptions.set(device.bdf, { device, group: group.id });
    if (!this.#dmaGroups.has(group.id)) this.#addIommuGroup(group);
  }

  #disableFunctions(physical: string): void {
    const about = physicalFunctions(this.#description).get(physical)!;
    const names = about.functions.map(({ bdf }) => bdf);
    for (const name of names.toReversed()) if (this.binding.has(name)) this.binding.remove(name);
    for (const name of names) {
      this.#changed(name);
      this.#state.removed.delete(name);
      this.#pci.remove(name);
      this.#descriptions.delete(name);
    }
    this.#describe(withoutFunctions(this.#description, about, new Set(names)));
    this.#pci.showFunctions(physical, 0);
    this.#changed(physical);
  }

  #describe(description: HostDescription): void {
    this.#description = description;
    this.#pci.describe(description);
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

function bootDevice(device: DeviceDescription): BootDevice {
  const driver = device.driver ?? undefined;
  if (device.bus !== "pci") return { driver, override: undefined, native: driver, ids: undefined };
  const wanted = driver ?? device.refusedDriver;
  const isOurs = isVfioDriver(wanted ?? null);
  // A VFIO driver has been given the device on purpose, also where it cannot have it.
  return { driver, override: isOurs ? wanted : undefined, native: isOurs ? undefined : wanted, ids: device };
}
