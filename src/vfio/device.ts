import type { IommuGroup } from "../iommu/group.ts";
import { fail } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import type { Release } from "../kernel/releases.ts";
import type { Task } from "../kernel/task.ts";

/** A device that a VFIO driver is bound to (struct vfio_device). */
export interface VfioDevice {
  /** As GET_DEVICE_FD names it: "0000:00:1b.0", or a mediated device's UUID. */
  readonly name: string;
  readonly iommuGroup: IommuGroup;
  /** Whether any file for it is open. */
  readonly isOpen: boolean;
  /** Whether `name`, as a caller wrote it, means this device. Throws EINVAL for options that do not fit. */
  matches(name: string): boolean;
  /** A new open file for it, which calls `released` when it is closed. The device may be open several times. */
  open(task: Task, released: () => void): FileDescription;
}

/**
 * A PCI device's name may be followed by options: "0000:01:00.0 vf_token=UUID" (vfio_pci_core.c:vfio_pci_core_match). No
 * device here has virtual functions, so that any token is one too many.
 */
export function matchesPciName(name: string, wanted: string, release: Release): boolean {
  if (!release.has("deviceNameOptions")) return wanted === name;
  if (!wanted.startsWith(name)) return false;
  const rest = wanted.slice(name.length);
  if (rest === "") return true;
  if (rest[0] !== " ") return false;
  for (const option of rest.split(" ")) {
    if (option === "") continue;
    fail(
      "EINVAL",
      option.startsWith("vf_token=")
        ? `${name} is no virtual function and has none: it takes no vf_token`
        : `unknown option "${option}" behind the device name ${name}`,
    );
  }
  return true;
}
