import type { CallContext, Reply } from "./call-context.ts";
import { handleGuest, handleKvmAttribute } from "./call-kvm.ts";
import { KVM_CREATE_VM, KVM_SET_DEVICE_ATTR, USERFAULTFD_IOC_NEW } from "./linux.ts";

/** VFIO_BASE: the lowest request of VFIO. */
const FIRST = 0x3b64;
/**
 * VFIO's requests that only tell: GET_API_VERSION, CHECK_EXTENSION, GROUP_GET_STATUS, DEVICE_GET_INFO, _REGION_INFO,
 * _IRQ_INFO, and IOMMU_GET_INFO or DEVICE_GET_PCI_HOT_RESET_INFO. Made for a caller that is gone they change nothing,
 * and what they answer goes to memory that is held.
 */
const TELLING = requests(0x3b64, 0x3b65, 0x3b67, 0x3b6b, 0x3b6c, 0x3b6d, 0x3b70);
/**
 * VFIO_IOMMU_MAP_DMA, UNMAP_DMA and VFIO_DEVICE_SET_IRQS read a structure before all else, which proves their caller:
 * they are made most often, and a second proof takes time.
 */
const READING = requests(0x3b71, 0x3b72, 0x3b6e);

/** A set of requests as bits, from FIRST on: each call asks for two of them. */
function requests(...numbers: readonly number[]): number {
  return numbers.reduce((bits, number) => bits | (1 << (number - FIRST)), 0);
}

function isOf(bits: number, request: number): boolean {
  const bit = request - FIRST;
  return bit >= 0 && bit < 32 && (bits & (1 << bit)) !== 0;
}

/** ioctl: the requests of our files; and KVM's, when it is handed one of them. */
export function handleIoctl(context: CallContext): Reply {
  const { kernel, listener, longCalls, task, caller, early } = context.on;
  const fd = listener.int(0);
  const request = listener.low(1);
  if (request === USERFAULTFD_IOC_NEW) return handleWaiting(context);
  if (request === KVM_SET_DEVICE_ATTR) return handleKvmAttribute(context, fd);
  if (request === KVM_CREATE_VM) return handleGuest(context);
  const file = context.file(fd);
  if (file === undefined) return "native";
  context.request = kernel.plainRequest?.(request) ?? request;
  context.argument = listener.word(2, context.abi);
  if (isOf(TELLING, context.request)) caller.isHarmless = true;
  else if (!isOf(READING, context.request)) caller.proveFile();
  early.begin(request, context.argument);
  kernel.before?.(task, file.description, context.request, context.argument);
  const outcome = file.description.ioctlInSteps(task, context.request, context.argument);
  return typeof outcome === "number" ? outcome : longCalls.begin(context, outcome);
}

/** userfaultfd(): memory of the program may have to be waited for from now on. */
export function handleWaiting({ on: { looks, doorbells, task } }: CallContext): Reply {
  // what doorbells make a program wait for is over before anybody looks
  if (!doorbells.makesCall(task.tid)) looks.require(false);
  return "native";
}

/** A new file system: what memory maps of it may have to be waited for. */
export function handleMount({ on: { looks } }: CallContext): Reply {
  looks.require(true);
  return "native";
}
