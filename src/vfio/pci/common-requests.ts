import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { VFIO_DEVICE_BIND_IOMMUFD } from "../../uapi/vfio-cdev.ts";
import {
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
} from "../../uapi/vfio-device.ts";
import { getInfo } from "./device-info.ts";
import { getIrqInfo } from "./irq-info.ts";
import type { OpenDevice } from "./open-device.ts";
import { refuseBind } from "./refuse-bind.ts";
import { getRegionInfo } from "./region-info.ts";
import { reset } from "./reset.ts";
import { setIrqs } from "./set-irqs.ts";

/**
 * The requests that every device file serves, vfio-pci's and a mediated device's alike; undefined for all other
 * requests.
 */
export function commonRequest(device: OpenDevice, task: Task, request: number, arg: Word): number | undefined {
  switch (request) {
    case VFIO_DEVICE_GET_INFO:
      return getInfo(device, task, arg);
    case VFIO_DEVICE_GET_REGION_INFO:
      return getRegionInfo(device, task, arg);
    case VFIO_DEVICE_GET_IRQ_INFO:
      return getIrqInfo(device, task, arg);
    case VFIO_DEVICE_SET_IRQS:
      return setIrqs(device, task, arg);
    case VFIO_DEVICE_RESET:
      return reset(device);
    case VFIO_DEVICE_BIND_IOMMUFD:
      return device.context.iommufd && device.context.release.has("deviceNodes") ? refuseBind(task, arg) : undefined;
  }
  return undefined;
}
