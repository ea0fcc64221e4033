import fs from "node:fs";
import type { CallContext, Reply } from "./call-context.ts";
import { KVM_DEV_VFIO_FILE, KVM_SET_DEVICE_ATTR } from "./linux.ts";
import { copyFromThread } from "./user-copy.ts";

/** ioctl: the requests of our files; and KVM's, when it is handed one of them. */
export function handleIoctl(context: CallContext): Reply {
  const { kernel, listener, task } = context.on;
  const fd = listener.int(0);
  const request = listener.low(1);
  if (request === KVM_SET_DEVICE_ATTR) return handleKvmAttribute(context, fd);
  const file = context.file(fd);
  if (file === undefined) return "native";
  context.request = kernel.plainRequest?.(request) ?? request;
  context.argument = listener.word(2, context.abi);
  return file.description.ioctl(task, context.request, context.argument);
}

const attribute = new Uint8Array(24);
const descriptor = new Uint8Array(4);

/**
 * KVM_DEV_VFIO_FILE_ADD and _DEL tell KVM which files belong to VFIO. The kernel's own KVM would refuse a file of ours;
 * nothing that we model depends on it, so adding and removing succeed.
 */
function handleKvmAttribute(context: CallContext, fd: number): Reply {
  const { listener, task, files } = context.on;
  try {
    // struct kvm_device_attr: flags u32@0, group u32@4, attr u64@8, addr u64@16; addr points at an int
    copyFromThread(task.tid, listener.word(2, context.abi), attribute, attribute.length);
    const view = new DataView(attribute.buffer);
    if (view.getUint32(4, true) !== KVM_DEV_VFIO_FILE) return "native";
    const address = view.getUint32(16, true) + view.getUint32(20, true) * 0x1_0000_0000;
    copyFromThread(task.tid, address, descriptor, descriptor.length);
    // Other KVM devices number their groups too.
    if (fs.readlinkSync(`/proc/${task.tid}/fd/${fd}`) !== "anon_inode:kvm-vfio") return "native";
  } catch {
    return "native";
  }
  const added = new DataView(descriptor.buffer).getInt32(0, true);
  return context.stat(added) && files.findLastStat() !== undefined ? 0 : "native";
}
