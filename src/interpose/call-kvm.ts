import fs from "node:fs";
import { fail } from "../kernel/errors.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { CallContext, Reply } from "./call-context.ts";
import { refuseShortage } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import type { InjectedFile } from "./injected-file.ts";
import { close, syscall } from "./libc.ts";
import { F_GETSIG, F_SETSIG, KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD, KVM_DEV_VFIO_FILE_DEL } from "./linux.ts";

const attribute = new Uint8Array(24);
const descriptor = new Uint8Array(4);

/**
 * KVM_SET_DEVICE_ATTR of KVM's VFIO device: which files of VFIO a virtual machine has
 * (virt/kvm/vfio.c:kvm_vfio_file_add, kvm_vfio_file_del). The kernel's own KVM does not take our files for VFIO's, so
 * the list of these is kept here. Everything else about the call is its own business: attributes that it does not know,
 * bad addresses and descriptors, files that are neither a group nor a device.
 *
 * KVM holds the files that it was told of; here it does not, so a group that was closed but not taken back is free.
 */
export function handleKvmAttribute(context: CallContext, fd: number): Reply {
  const { listener, task, files } = context.on;
  let name: number;
  try {
    // struct kvm_device_attr: flags u32@0, group u32@4, attr u64@8, addr u64@16; addr points at an int
    task.copyIn(listener.word(2, context.abi), attribute, attribute.length);
    const view = new DataView(attribute.buffer);
    name = view.getUint32(8, true) + view.getUint32(12, true) * 0x1_0000_0000;
    if (view.getUint32(4, true) !== KVM_DEV_VFIO_FILE) return "native";
    if (name !== KVM_DEV_VFIO_FILE_ADD && name !== KVM_DEV_VFIO_FILE_DEL) return "native";
    const address = view.getUint32(16, true) + view.getUint32(20, true) * 0x1_0000_0000;
    task.copyIn(address, descriptor, descriptor.length);
    // Other KVM devices number their groups too.
    if (fs.readlinkSync(`/proc/${task.tid}/fd/${fd}`) !== "anon_inode:kvm-vfio") return "native";
  } catch {
    return "native";
  }
  const added = new DataView(descriptor.buffer).getInt32(0, true);
  const file = context.stat(added) ? files.findLastStat() : undefined;
  if (file === undefined || (file.description.kind !== "group" && file.description.kind !== "device")) return "native";
  const known = filesOf(task.process, fd);
  if (known === undefined) return "native";
  context.description = file.description;
  if (name === KVM_DEV_VFIO_FILE_ADD) {
    if (known.has(file)) fail("EEXIST", `KVM has ${file.description.label} already`);
    known.add(file);
  } else if (!known.delete(file)) {
    fail("ENOENT", `KVM was not told of ${file.description.label}`);
  }
  return 0;
}

/** KVM_CREATE_VM: what the guest writes is not announced everywhere (Doorbells.makesGuest). */
export function handleGuest({ on: { doorbells, processes, task } }: CallContext): Reply {
  const process = doorbells.isUsed ? processes.of(task.tid) : undefined;
  if (process) doorbells.makesGuest(process.pid);
  return "native";
}

/** Marks that a file can have: the signals that F_SETSIG takes. */
const MARKS = 64;
const added: WeakSet<InjectedFile>[] = [];
const ofProcesses = new WeakMap<object, WeakSet<InjectedFile>>();
let lastMark = 0;

/**
 * The files that one of KVM's devices was told of. All of its devices share an inode, and holding one would keep the
 * virtual machine alive; so the open file itself carries a mark, in a property that it has no use for (it never sends
 * SIGIO).
 */
function filesOf(process: { readonly pidfd: number }, fd: number): WeakSet<InjectedFile> | undefined {
  const device = syscall(HOST_CALLS.pidfd_getfd, process.pidfd, fd, 0);
  if (device === -ERRNO.EPERM) return filesOfProcess(process);
  refuseShortage(device);
  if (device < 0) return undefined;
  let mark = syscall(HOST_CALLS.fcntl, device, F_GETSIG);
  if (mark <= 0) {
    // After 64 devices the oldest is taken to be gone.
    lastMark = (lastMark % MARKS) + 1;
    mark = lastMark;
    added[mark] = new WeakSet();
    syscall(HOST_CALLS.fcntl, device, F_SETSIG, mark);
  }
  close(device);
  added[mark] ??= new WeakSet();
  return added[mark];
}

/** Where a device's file cannot be fetched: a process has one virtual machine, as far as anybody can tell. */
function filesOfProcess(process: object): WeakSet<InjectedFile> {
  let files = ofProcesses.get(process);
  if (files === undefined) {
    files = new WeakSet();
    ofProcesses.set(process, files);
  }
  return files;
}
