import { extendedCapabilities, findExtended } from "../../devices/pci/capabilities.ts";
import type { PciFunction } from "../../devices/pci/function.ts";
import { PCI_EXT_CAP_ID_SRIOV, PCI_SRIOV_CTRL, PCI_SRIOV_NUM_VF } from "../../devices/pci/registers.ts";
import { PciTopology } from "../../devices/pci/topology.ts";
import type { IommuGroup } from "../../iommu/group.ts";
import { fail } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import { allDevices, pciDevices } from "../../machine/find-device.ts";
import type { HostDescription, PciDeviceDescription } from "../../machine/host-description.ts";
import { type PhysicalFunction, physicalFunctions } from "../../machine/virtual-functions.ts";
import type { VfioDevice } from "../device.ts";
import { errorState } from "../error-state.ts";
import type { VfioGroup } from "../group.ts";
import type { ModelContext } from "../model-context.ts";
import { WatchedTarget } from "../model-watch.ts";
import { canWait, connectFunction, createFunction } from "./create-functions.ts";
import { PciDeviceFile } from "./device-file.ts";
import type { HotResetSurroundings } from "./hot-reset.ts";
import { OpenDevice } from "./open-device.ts";
import { type PciContext, pciContext } from "./pci-context.ts";
import { checkToken, matchPciName, VfToken } from "./vf-token.ts";

/** VF Enable and VF Memory Space Enable. */
const PCI_SRIOV_CTRL_VFE = 1;
const PCI_SRIOV_CTRL_MSE = 8;

/** The PCI functions of a host and what vfio-pci has of them. */
export class PciDevices implements HotResetSurroundings {
  readonly topology: PciTopology;
  readonly #context: PciContext;
  readonly #groups = new Map<string, number>();
  readonly #bound = new Map<string, VfioPciDevice>();
  readonly #model: ModelContext;
  #physical: ReadonlyMap<string, PhysicalFunction>;

  constructor(host: HostDescription, context: ModelContext) {
    this.#model = context;
    this.#context = pciContext(host, context);
    const described = new Map<string, PciDeviceDescription>();
    const all = allDevices(host);
    for (let at = 0; at < all.length; at++) {
      const { device, group } = all[at]!;
      if (device.bus !== "pci") continue;
      this.#groups.set(device.bdf, group.id);
      described.set(device.bdf, device);
    }
    this.topology = new PciTopology(described.keys(), (name) => this.#make(host, described.get(name)!));
    const needed = pciDevices(host).filter(
      (device) => !canWait(device, context) && this.topology.find(device.bdf)!.model,
    );
    this.#physical = physicalFunctions(host);
    for (const [name, { functions }] of this.#physical)
      this.topology.find(name)?.model.hasFunctions?.(functions.length);
    for (const device of needed) connectFunction(host, device, this.topology);
  }

  /** A function that nobody needed so far. A driver may have it already. */
  #make(host: HostDescription, device: PciDeviceDescription): PciFunction {
    const target = createFunction(host, device, this.#model);
    if (canWait(device, this.#model)) target.onModel = () => connectFunction(host, device, this.topology);
    const group = this.#bound.get(device.bdf)?.group;
    if (group) this.#lead(target, group);
    return target;
  }

  /** Its accesses go where its group's owner lets them. */
  #lead(target: PciFunction, group: VfioGroup): void {
    const port = group.dma.port(target.name);
    const { watch } = this.#context;
    target.dma = watch ? new WatchedTarget(target.name, port, watch) : port;
  }

  /** The host has other virtual functions now. */
  describe(host: HostDescription): void {
    this.#physical = physicalFunctions(host);
  }

  /** A function has come. */
  add(host: HostDescription, device: PciDeviceDescription, group: number): void {
    const target = createFunction(host, device, this.#model);
    this.topology.add(target);
    this.#groups.set(device.bdf, group);
    connectFunction(host, device, this.topology);
  }

  /** Resets a function alone, whoever has it (pci_reset_function). ENOTTY. */
  reset(name: string): void {
    const target = this.topology.find(name)!;
    if (!this.topology.canResetAlone(target)) fail("ENOTTY", `${name} cannot be reset on its own`);
    const device = this.openDevice(name);
    if (device) device.reset();
    else target.reset();
    device?.showShared();
  }

  /** A physical function says in its config space how many virtual ones it has (PCI_SRIOV_CTRL, PCI_SRIOV_NUM_VF). */
  showFunctions(name: string, count: number): void {
    const { config, model } = this.topology.find(name)!;
    model.hasFunctions?.(count);
    const at = findExtended(config.bytes, PCI_EXT_CAP_ID_SRIOV);
    if (at === undefined) return;
    const enabled = PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE;
    const control = config.bytes[at + PCI_SRIOV_CTRL]! & ~enabled;
    config.bytes[at + PCI_SRIOV_CTRL] = control | (count > 0 ? enabled : 0);
    config.bytes.set([count & 0xff, count >> 8], at + PCI_SRIOV_NUM_VF);
    const device = this.openDevice(name);
    if (device) device.hasVirtualFunctions = count > 0;
  }

  /** The host is needed no more. */
  close(): void {
    for (const target of this.topology.made()) if (target.hasModel) target.model.close?.();
  }

  /** A function that nobody has is gone. */
  remove(name: string): void {
    this.topology.remove(name);
    this.#groups.delete(name);
  }

  /** vfio-pci takes a device (its probe). Its accesses go where its group's owner lets them. */
  bind(name: string, group: VfioGroup): VfioDevice {
    const device = new VfioPciDevice(name, group, this.#context, this);
    const target = this.topology.findMade(name);
    if (target) this.#lead(target, group);
    this.#bound.set(name, device);
    return device;
  }

  /** Whether a function can have virtual ones: as its description says, or its config space. */
  isPhysical({ name, config }: PciFunction): boolean {
    return this.#physical.has(name) || extendedCapabilities(config.bytes).some(({ id }) => id === PCI_EXT_CAP_ID_SRIOV);
  }

  hasVirtualFunctions(name: string): boolean {
    return (this.#physical.get(name)?.functions.length ?? 0) > 0;
  }

  /** The token of a physical function that vfio-pci has. */
  tokenOf(physical: string): VfToken | undefined {
    return this.#bound.get(physical)?.token;
  }

  unbind(name: string): void {
    this.#bound.delete(name);
  }

  groupOf(name: string): number {
    return this.#groups.get(name)!;
  }

  isBound(name: string): boolean {
    return this.#bound.has(name);
  }

  vfioGroupOf(name: string): VfioGroup | undefined {
    return this.#bound.get(name)?.group;
  }

  openDevice(name: string): OpenDevice | undefined {
    return this.#bound.get(name)?.state;
  }
}

/** A PCI function that vfio-pci is bound to. */
class VfioPciDevice implements VfioDevice {
  readonly name: string;
  readonly group: VfioGroup;
  readonly #context: PciContext;
  readonly #devices: PciDevices;
  /** While any file for it is open. */
  state: OpenDevice | undefined;
  /** Of a physical function (vfio_pci_core.c:vfio_pci_vf_init). */
  #token: VfToken | undefined;
  /** The physical function's token that this one, being open, keeps from being changed by another user. */
  #used: VfToken | undefined;
  #openCount = 0;

  constructor(name: string, group: VfioGroup, context: PciContext, devices: PciDevices) {
    this.name = name;
    this.group = group;
    this.#context = context;
    this.#devices = devices;
  }

  get token(): VfToken | undefined {
    if (this.#token === undefined && this.#context.release.has("vfTokens") && this.#devices.isPhysical(this.target))
      this.#token = new VfToken();
    return this.#token;
  }

  get target(): PciFunction {
    return this.#devices.topology.find(this.name)!;
  }

  get iommuGroup(): IommuGroup {
    return this.group.iommuGroup;
  }

  get isOpen(): boolean {
    return this.#openCount > 0;
  }

  matches(wanted: string): boolean {
    const takesOptions = this.#context.release.has("deviceNameOptions");
    const named = matchPciName(this.name, wanted, takesOptions);
    if (named && takesOptions) this.checkToken(named.uuid);
    return named !== undefined;
  }

  checkToken(uuid: Uint8Array | undefined): void {
    const { name, token: own } = this;
    checkToken(
      { name, own, isVirtual: this.target.description.physfn !== undefined, physical: this.#physicalToken },
      uuid,
    );
  }

  /** Of the physical function, when this is a virtual one. */
  get #physicalToken(): VfToken | undefined {
    const { physfn } = this.target.description;
    return physfn === undefined ? undefined : this.#devices.tokenOf(physfn);
  }

  requestRelease(): boolean {
    const { state } = this;
    if (state?.requestEvent === undefined) return false;
    state.requestEvent.signal();
    return true;
  }

  open(_task: Task, released: () => void): FileDescription {
    if (!this.state) {
      if (this.target.isInError) fail("ENODEV", errorState(this.name));
      this.state = new OpenDevice(this.target, this.#devices.topology, this.#context);
      this.state.token = this.token;
      this.state.hasVirtualFunctions = this.#devices.hasVirtualFunctions(this.name);
      this.#used = this.#physicalToken;
      if (this.#used) this.#used.users++;
    }
    this.#openCount++;
    return new PciDeviceFile(this.state, this.#devices, () => {
      if (--this.#openCount === 0) {
        this.state!.close();
        this.state = undefined;
        if (this.#used) this.#used.users--;
        this.#used = undefined;
      }
      released();
    });
  }
}
