import * as pci from "../../devices/pci/registers.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import {
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_REQ_IRQ_INDEX,
  VfioIrqInfo,
} from "../../uapi/vfio-device.ts";
import { UserStruct } from "../user-struct.ts";
import type { OpenDevice } from "./open-device.ts";

const AT = VfioIrqInfo.offsets;
const SIZE = VfioIrqInfo.size;

const user = new UserStruct(SIZE);

/** VFIO_DEVICE_GET_IRQ_INFO (vfio_pci_core.c:vfio_pci_ioctl_get_irq_info). */
export function getIrqInfo(device: OpenDevice, task: Task, arg: Word): number {
  user.copyInSized(task, arg, SIZE, "vfio_irq_info");
  const index = user.u32(AT.index);
  refuseIndex(device, index);
  if (index > VFIO_PCI_MSI_IRQ_INDEX && device.server === "mediated") {
    fail(
      "EINVAL",
      `${device.target.name} is a mediated device: it has the interrupt indexes 0 (INTx) and 1 (MSI) only`,
    );
  }
  if (index === VFIO_PCI_ERR_IRQ_INDEX && !device.target.isExpress) {
    fail("EINVAL", `${device.target.name} is conventional PCI: only PCI Express devices report errors`);
  }
  user.setU32(AT.flags, VFIO_IRQ_INFO_EVENTFD | moreFlags(device, index));
  user.setU32(AT.count, vectorCount(device, index));
  return user.answer(task, arg, SIZE, device.context.release);
}

/** How many interrupt indexes vfio-pci of this release knows. */
export function indexCount({ context }: OpenDevice): number {
  if (context.release.has("requestInterrupt")) return VFIO_PCI_NUM_IRQS;
  return context.release.has("errorInterrupt") ? VFIO_PCI_REQ_IRQ_INDEX : VFIO_PCI_ERR_IRQ_INDEX;
}

/** EINVAL for an interrupt index that there is not. */
export function refuseIndex(device: OpenDevice, index: number): void {
  const count = indexCount(device);
  if (index >= count) fail("EINVAL", `a PCI device has interrupt indexes 0 to ${count - 1}, not ${index}`);
}

function moreFlags(device: OpenDevice, index: number): number {
  if (index === VFIO_PCI_INTX_IRQ_INDEX) return VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
  const canGrow = index === VFIO_PCI_MSIX_IRQ_INDEX && device.target.msix !== undefined && device.messages.dynamic;
  return canGrow ? 0 : VFIO_IRQ_INFO_NORESIZE;
}

/** How many vectors of an index the device has; 0 for an index that there is not (vfio_pci_get_irq_count). */
export function vectorCount(device: OpenDevice, index: number): number {
  const { target, config } = device;
  switch (index) {
    case VFIO_PCI_INTX_IRQ_INDEX:
      return config.interruptPin === 0 ? 0 : 1;
    case VFIO_PCI_MSI_IRQ_INDEX: {
      if (target.msi === undefined) return 0;
      const capable = target.readConfig(target.msi + pci.PCI_MSI_FLAGS, 2) & pci.PCI_MSI_FLAGS_QMASK;
      return 1 << (device.context.release.has("msiCountRight") ? capable >> 1 : capable);
    }
    case VFIO_PCI_MSIX_IRQ_INDEX: {
      if (target.msix === undefined) return 0;
      return (target.readConfig(target.msix + pci.PCI_MSIX_FLAGS, 2) & pci.PCI_MSIX_FLAGS_QSIZE) + 1;
    }
    case VFIO_PCI_ERR_IRQ_INDEX:
      return target.isExpress ? 1 : 0;
    case VFIO_PCI_REQ_IRQ_INDEX:
      return device.server === "mediated" ? 0 : 1;
    default:
      return 0;
  }
}
