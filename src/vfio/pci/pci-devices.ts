import type { PciFunction } from "../../devices/pci/function.ts";
import { PciTopology } from "../../devices/pci/topology.ts";
import type { IommuGroup } from "../../iommu/group.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import { allDevices } from "../../machine/find-device.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { matchesPciName, type VfioDevice } from "../device.ts";
import type { VfioGroup } from "../group.ts";
import type { ModelContext } from "../model-context.ts";
import { WatchedTarget } from "../model-watch.ts";
import { createFunctions } from "./create-functions.ts";
import { PciDeviceFile } from "./device-file.ts";
import type { HotResetSurroundings } from "./hot-reset.ts";
import { OpenDevice } from "./open-device.ts";
import { type PciContext, pciContext } from "./pci-context.ts";

/** The PCI functions of a host and what vfio-pci has of them. */
export class PciDevices implements HotResetSurroundings {
  readonly topology: PciTopology;
  readonly #context: PciContext;
  readonly #groups = new Map<string, number>();
  readonly #bound = new Map<string, VfioPciDevice>();

  constructor(host: HostDescription, context: ModelContext) {
    this.#context = pciContext(host, context);
    this.topology = new PciTopology(createFunctions(host, context));
    for (const { device, group } of allDevices(host)) if (device.bus === "pci") this.#groups.set(device.bdf, group.id);
  }

  /** vfio-pci takes a device (its probe). Its accesses go where its group's owner lets them. */
  bind(name: string, group: VfioGroup): VfioDevice {
    const device = new VfioPciDevice(this.topology.find(name)!, group, this.#context, this);
    const target = group.port(name);
    const { watch } = this.#context;
    device.target.dma = watch ? new WatchedTarget(name, target, watch) : target;
    this.#bound.set(name, device);
    return device;
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
  readonly target: PciFunction;
  readonly group: VfioGroup;
  readonly #context: PciContext;
  readonly #devices: PciDevices;
  /** While any file for it is open. */
  state: OpenDevice | undefined;
  #openCount = 0;

  constructor(target: PciFunction, group: VfioGroup, context: PciContext, devices: PciDevices) {
    this.target = target;
    this.group = group;
    this.#context = context;
    this.#devices = devices;
  }

  get name(): string {
    return this.target.name;
  }

  get iommuGroup(): IommuGroup {
    return this.group.iommuGroup;
  }

  get isOpen(): boolean {
    return this.#openCount > 0;
  }

  matches(wanted: string): boolean {
    return matchesPciName(this.name, wanted, this.#context.release);
  }

  open(_task: Task, released: () => void): FileDescription {
    this.state ??= new OpenDevice(this.target, this.#devices.topology, this.#context);
    this.#openCount++;
    return new PciDeviceFile(this.state, this.#devices, () => {
      if (--this.#openCount === 0) {
        this.state!.close();
        this.state = undefined;
      }
      released();
    });
  }
}
