import { fail } from "../../kernel/errors.ts";
import { errorState } from "../error-state.ts";
import type { OpenDevice } from "./open-device.ts";

/** VFIO_DEVICE_RESET (vfio_pci_core.c:vfio_pci_ioctl_reset). */
export function reset(device: OpenDevice): number {
  if (device.target.isInError) fail("ENOTTY", errorState(device.target.name));
  if (!device.resetWorks) {
    fail(
      "EINVAL",
      `${device.target.name} cannot be reset on its own: it has no function-level reset, and it is not alone below a bridge (GET_INFO has no flag RESET)`,
    );
  }
  device.reset();
  return 0;
}
