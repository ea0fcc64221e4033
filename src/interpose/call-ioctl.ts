import type { CallContext, Reply } from "./call-context.ts";
import { handleKvmAttribute } from "./call-kvm.ts";
import { KVM_SET_DEVICE_ATTR, USERFAULTFD_IOC_NEW } from "./linux.ts";

/** ioctl: the requests of our files; and KVM's, when it is handed one of them. */
export function handleIoctl(context: CallContext): Reply {
  const { kernel, listener, task } = context.on;
  const fd = listener.int(0);
  const request = listener.low(1);
  if (request === USERFAULTFD_IOC_NEW) return handleWaiting(context);
  if (request === KVM_SET_DEVICE_ATTR) return handleKvmAttribute(context, fd);
  const file = context.file(fd);
  if (file === undefined) return "native";
  context.request = kernel.plainRequest?.(request) ?? request;
  context.argument = listener.word(2, context.abi);
  return file.description.ioctl(task, context.request, context.argument);
}

/** userfaultfd(), or a new file system: memory and files of the program may have to be waited for from now on. */
export function handleWaiting({ on: { looks } }: CallContext): Reply {
  looks.required = true;
  return "native";
}
