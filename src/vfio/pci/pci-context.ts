import type { DeviceClock } from "../../devices/device-clock.ts";
import type { DeviceKinds } from "../../devices/kinds.ts";
import type { Arch } from "../../kernel/arch.ts";
import type { Release } from "../../kernel/releases.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import type { ModelContext } from "../model-context.ts";
import type { ModelWatch } from "../model-watch.ts";
import { InterruptLines } from "./interrupt-lines.ts";

/** What the devices of a host share. */
export interface PciContext {
  readonly release: Release;
  readonly arch: Arch;
  /** The host kernel's PAGE_SIZE in bytes. */
  readonly pageSize: number;
  /** The time of its devices. */
  readonly clock: DeviceClock;
  /** The kinds of devices that its description may name. */
  readonly kinds: DeviceKinds;
  /** Whether the kernel was built with iommufd. */
  readonly iommufd: boolean;
  /** Whether its vfio-pci exports BARs as dma-bufs. */
  readonly dmaBufs: boolean;
  /** Whether its vfio-pci serves VGA access. */
  readonly vga: boolean;
  readonly lines: InterruptLines;
  /** Something a person should know although nothing failed. */
  warn(message: string): void;
  readonly watch?: ModelWatch | undefined;
}

export function pciContext(host: HostDescription, context: ModelContext): PciContext {
  const { release, pageSize, clock, kinds, warn, watch } = context;
  const { vfioPci } = host.modules;
  const isBuilt = vfioPci?.vga ?? host.arch === "x86_64";
  return {
    release,
    pageSize,
    clock,
    kinds,
    warn,
    watch,
    arch: host.arch,
    iommufd: host.iommufd,
    dmaBufs: release.has("dmaBufFeature") && (vfioPci?.dmaBuf ?? (!host.iommufd && host.arch !== "s390x")),
    vga: isBuilt && !vfioPci?.disableVga && release.has("vgaRegion"),
    lines: new InterruptLines(host),
  };
}
