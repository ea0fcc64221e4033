import type { FunctionErrors } from "../devices/pci/function-errors.ts";
import { unitOf } from "../iommu/describe-unit.ts";
import type { IommuDescription } from "../iommu/description.ts";
import { DmaGroup } from "../iommu/dma-group.ts";
import type { IommuGroup } from "../iommu/group.ts";
import type { IommuUnit } from "../iommu/unit.ts";
import { fail } from "../kernel/errors.ts";
import { WaitsError } from "../kernel/host-files.ts";
import type { ModuleParameters } from "../kernel/module-parameters.ts";
import { isVfioDriver } from "../machine/device-nodes.ts";
import { deviceName, findGroup } from "../machine/find-device.ts";
import type { DeviceDescription, GroupDescription, HostDescription } from "../machine/host-description.ts";
import { probeRefusal } from "../machine/refused-driver.ts";
import { physicalFunctions } from "../machine/virtual-functions.ts";
import { vmdControllerOf } from "../machine/vmd.ts";
import type { VfioDevice } from "../vfio/device.ts";
import { VfioGroup } from "../vfio/group.ts";
import type { MediatedDevices } from "../vfio/mediated/mediated-devices.ts";
import type { ModelContext } from "../vfio/model-context.ts";
import { NOIOMMU_PARAMETER } from "../vfio/noiommu.ts";
import type { PciDevices } from "../vfio/pci/pci-devices.ts";
import type { Requesters } from "../vfio/requesters.ts";
import { createDevice } from "./create-device.ts";
import { type BootDevice, DriverBinding, isHostDriver } from "./driver-binding.ts";
import { HostActions } from "./sysfs/host-actions.ts";
import { HostState } from "./sysfs/host-state.ts";
import { type MadeFunction, makeFunctions, withFunctions, withoutFunctions } from "./sysfs/virtual-functions.ts";
import { ZpciSlots } from "./zpci-slots.ts";

/** What the devices of a host are made with. */
export interface DeviceParts {
  readonly context: ModelContext;
  readonly parameters: ModuleParameters;
  readonly pci: PciDevices;
  readonly mediated: MediatedDevices;
  readonly requesters: Requesters;
  readonly errors: FunctionErrors;
  /** Files of a group, or of no group ("fixed"), are not what they were. */
  readonly changed: (place: number | "fixed") => void;
}

/** The devices of a host as they come and go: which driver has them, and the groups that VFIO has of them. */
export class HostDevices {
  /** Which driver has which device. */
  readonly binding: DriverBinding;
  /** Empty on machines other than s390. */
  readonly slots: ZpciSlots;
  readonly state: HostState;
  /** As it booted. */
  readonly #boot: HostDescription;
  #description: HostDescription;
  readonly #context: ModelContext;
  readonly #parameters: ModuleParameters;
  readonly #pci: PciDevices;
  readonly #mediated: MediatedDevices;
  readonly #requesters: Requesters;
  readonly #errors: FunctionErrors;
  readonly #told: DeviceParts["changed"];
  readonly #units = new Map<IommuDescription, IommuUnit | undefined>();
  readonly #dmaGroups = new Map<number, DmaGroup>();
  readonly #groups = new Map<number, VfioGroup>();
  readonly #descriptions = new Map<string, { readonly device: DeviceDescription; readonly group: number }>();

  constructor(description: HostDescription, parts: DeviceParts) {
    this.#boot = description;
    this.#description = description;
    this.#context = parts.context;
    this.#parameters = parts.parameters;
    this.#pci = parts.pci;
    this.#mediated = parts.mediated;
    this.#requesters = parts.requesters;
    this.#errors = parts.errors;
    this.#told = parts.changed;
    this.binding = new DriverBinding({
      claiming: (device, driver) => this.#refuseClaim(device, driver),
      probing: (device, driver) => this.#refuseProbe(device, driver),
      bound: (device, driver) => this.#bound(device, driver),
      unbound: (device, driver) => this.#unbound(device, driver),
      changed: (device) => this.#changed(device),
      refused: (device, driver, why) => this.#context.warn(`${driver} does not take ${device}: ${why}`),
    });
    this.slots = new ZpciSlots(description, this.binding);
    this.state = new HostState(this.binding, this.slots, (state) => new HostActions(this.#actedOn(state)));
  }

  /** As it is now: virtual functions come and go. */
  get description(): HostDescription {
    return this.#description;
  }

  /** Finds the devices of the description, and binds them to their drivers. */
  boot(): void {
    for (const group of this.#boot.groups) this.#addGroup(group);
  }

  /** What VFIO has of a group; undefined when no driver of its has any of its devices. */
  group(id: number): VfioGroup | undefined {
    return this.#groups.get(id);
  }

  /** All that VFIO has. */
  groups(): Iterable<VfioGroup> {
    return this.#groups.values();
  }

  /** The IOMMU group of a device by its name (BDF or UUID). */
  groupOf(device: string): number | undefined {
    return this.#descriptions.get(device)?.group;
  }

  /** A device by its number among those that VFIO has; undefined when it has none of that number. */
  deviceAt(index: number): { readonly device: VfioDevice; readonly group: VfioGroup } | undefined {
    const name = this.state.indexes.keyOf(index);
    if (name === undefined || !this.#context.release.has("deviceNodes")) return undefined;
    const group = this.#groups.get(this.#descriptions.get(name)!.group);
    const device = group?.devices.find((each) => each.name === name);
    // no-IOMMU groups' devices have no nodes of their own
    return group && device && group.iommuGroup.kind !== "noiommu" ? { device, group } : undefined;
  }

  /**
   * Finds a device again that was removed, as a rescan does. False when it was not removed.
   * @param override its driver_override from the start; left out, none
   */
  rediscover(name: string, override?: string): boolean {
    if (!this.state.removed.delete(name)) return false;
    this.#arrive(name, { override });
    return true;
  }

  #addIommuGroup(group: GroupDescription): void {
    const unit = this.#unitOf(group.iommu ?? this.#description.iommu);
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

  /** Groups share the host's unless they say otherwise. */
  #unitOf(iommu: IommuDescription): IommuUnit | undefined {
    if (!this.#units.has(iommu)) this.#units.set(iommu, unitOf(iommu, this.#context.release));
    return this.#units.get(iommu);
  }

  #addGroup(group: GroupDescription): void {
    this.#addIommuGroup(group);
    const { kind } = this.#dmaGroups.get(group.id)!.iommuGroup;
    for (let at = 0; at < group.devices.length; at++) {
      const device = group.devices[at]!;
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
    const isOn = this.#parameters.has(NOIOMMU_PARAMETER) && this.#parameters.get(NOIOMMU_PARAMETER) !== 0;
    const refusal = probeRefusal(this.#description, this.#groupDescription(described.group), described.device, isOn);
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
    return findGroup(this.#description, id)!;
  }

  #bound(name: string, driver: string): void {
    if (!isVfioDriver(driver)) return;
    const { device, group: id } = this.#descriptions.get(name)!;
    const group = this.#groups.get(id) ?? new VfioGroup(this.#dmaGroups.get(id)!);
    this.#groups.set(id, group);
    group.devices.push(createDevice(device, group, this.#pci, this.#mediated));
    this.state.minors.take(id);
    this.state.indexes.take(name);
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
    this.state.indexes.giveBack(name);
    if (group.devices.length > 0) return;
    group.driversGone();
    this.#groups.delete(id);
    this.state.minors.giveBack(id);
  }

  /**
   * vfio_main.c:vfio_unregister_group_dev waits until a device is closed, and asks its user to do that
   * (vfio_pci_core.c:vfio_pci_core_request).
   */
  #askBack(device: VfioDevice): never {
    const how = device.requestRelease()
      ? "Relaying device request to user (REQ interrupt): it is to close the device"
      : "No device request channel registered, blocked until released by user";
    this.#context.warn(`${device.name}: ${how}`);
    throw new WaitsError("EBUSY", `${device.name} is open; a kernel would wait here until it is closed`);
  }

  /** Something of a device is not what it was. */
  #changed(name: string): void {
    const { device, group } = this.#descriptions.get(name)!;
    this.#told(group);
    if (device.bus === "mdev") this.#told("fixed");
  }

  #actedOn({ removed }: HostState): ConstructorParameters<typeof HostActions>[0] {
    const devices = this;
    return {
      get description() {
        return devices.#description;
      },
      parameters: this.#parameters,
      binding: this.binding,
      slots: this.slots,
      errors: this.#errors,
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
      const isProbed = isOurs || this.state.actions.functionsAutoprobe(physical);
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
      this.state.removed.delete(name);
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
    const controller = vmdControllerOf(this.#description, this.#descriptions.get(name)!.device);
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
