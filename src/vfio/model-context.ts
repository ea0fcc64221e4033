import type { DeviceClock } from "../devices/device-clock.ts";
import type { DeviceKinds } from "../devices/kinds.ts";
import type { FunctionErrors } from "../devices/pci/function-errors.ts";
import type { Arch } from "../kernel/arch.ts";
import type { Release } from "../kernel/releases.ts";
import type { ModelWatch } from "./model-watch.ts";

/** What the parts of a booted host share. */
export interface ModelContext {
  readonly release: Release;
  readonly arch: Arch;
  /** The host kernel's PAGE_SIZE in bytes. */
  readonly pageSize: number;
  /** The time of its devices. */
  readonly clock: DeviceClock;
  /** Its functions that are in zPCI's error state. */
  readonly errors: FunctionErrors;
  /** The kinds of devices that its description may name. */
  readonly kinds: DeviceKinds;
  /** A module parameter's value now, e.g. "vfio_iommu_type1/dma_entry_limit". */
  numberParameter(name: string): number;
  booleanParameter(name: string): boolean;
  /**
   * Something a person should know although the call succeeded: a kernel defect that shows, a parameter that is
   * ignored.
   */
  warn(message: string): void;
  /** Who watches what devices do; nobody, as a rule. */
  readonly watch?: ModelWatch | undefined;
}
