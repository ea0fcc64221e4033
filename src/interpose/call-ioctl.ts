import type { CallContext, Reply } from "./call-context.ts";
import { handleKvmAttribute } from "./call-kvm.ts";
import { KVM_SET_DEVICE_ATTR } from "./linux.ts";

/** ioctl: the requests of our files; and KVM's, when it is handed one of them. */
export function handleIoctl(context: CallContext): Reply {
  const { kernel, listener, longCalls, task } = context.on;
  const fd = listener.int(0);
  const request = listener.low(1);
  if (request === KVM_SET_DEVICE_ATTR) return handleKvmAttribute(context, fd);
  const file = context.file(fd);
  if (file === undefined) return "native";
  context.request = kernel.plainRequest?.(request) ?? request;
  context.argument = listener.word(2, context.abi);
  const outcome = file.description.ioctlInSteps(task, context.request, context.argument);
  return typeof outcome === "number" ? outcome : longCalls.begin(context, outcome);
}
