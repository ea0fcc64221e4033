import type { SysfsActions, SysfsState } from "../../machine/sysfs/sysfs-state.ts";
import type { DriverBinding } from "../driver-binding.ts";
import type { ZpciSlots } from "../zpci-slots.ts";
import { LowestFree } from "./lowest-free.ts";

/** A running host as its /sys shows it. */
export class HostState implements SysfsState {
  /** Devices that were removed. */
  readonly removed = new Set<string>();
  /** N in vfio-dev/vfioN (drivers/vfio/vfio_main.c: vfio.device_ida). */
  readonly indexes = new LowestFree<string>();
  /** Minor numbers of the groups' nodes (drivers/vfio/group.c: vfio.group_ida). */
  readonly minors = new LowestFree<number>();
  readonly actions: SysfsActions;
  readonly #binding: DriverBinding;
  readonly #slots: ZpciSlots;

  constructor(binding: DriverBinding, slots: ZpciSlots, actions: (state: HostState) => SysfsActions) {
    this.#binding = binding;
    this.#slots = slots;
    this.actions = actions(this);
  }

  driverOf(device: string): string | undefined {
    return this.#binding.driverOf(device);
  }

  overrideOf(device: string): string | undefined {
    return this.#binding.overrideOf(device);
  }

  vfioIndexOf(device: string): number | undefined {
    return this.indexes.get(device);
  }

  groupMinorOf(group: number): number | undefined {
    return this.minors.get(group);
  }

  isHere(device: string): boolean {
    return !this.removed.has(device) && this.#slots.isOn(device);
  }
}
