import type { PciFunction } from "../../devices/pci/function.ts";
import { parseAddress } from "../../devices/pci/topology.ts";
import type { DmaOwner } from "../../iommu/requester.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { StructView } from "../../uapi/struct-view.ts";
import {
  VFIO_PCI_DEVID_NOT_OWNED,
  VFIO_PCI_DEVID_OWNED,
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED,
  VfioPciDependentDevice,
  VfioPciHotReset,
  VfioPciHotResetInfo,
} from "../../uapi/vfio-pci.ts";
import type { IommufdDevice, VfioGroup } from "../group.ts";
import { GroupFile } from "../group-file.ts";
import { UserStruct } from "../user-struct.ts";
import type { OpenDevice } from "./open-device.ts";

const INFO = VfioPciHotResetInfo;
const RESET = VfioPciHotReset;
const HEADER = INFO.endOf("count");
const ENTRY = VfioPciDependentDevice;

const user = new UserStruct(HEADER);

/** What a hot reset has to know of the machine around a device. */
export interface HotResetSurroundings {
  /** The group of a function. */
  groupOf(name: string): number;
  /** Whether a VFIO driver is bound to a function. */
  isBound(name: string): boolean;
  /** The group of a function that a VFIO driver is bound to. */
  vfioGroupOf(name: string): VfioGroup | undefined;
  /** The state of a function that is open. */
  openDevice(name: string): OpenDevice | undefined;
}

/** VFIO_DEVICE_GET_PCI_HOT_RESET_INFO (vfio_pci_core.c:vfio_pci_ioctl_get_pci_hot_reset_info). */
export function getHotResetInfo(device: OpenDevice, around: HotResetSurroundings, task: Task, arg: Word): number {
  user.copyInSized(task, arg, HEADER, "vfio_pci_hot_reset_info");
  const affected = affectedBy(device);
  const room = Math.floor((user.u32(INFO.offsets.argsz) - HEADER) / ENTRY.size);
  const own = ownNodeOf(device, around);
  const ids = own && affected.map(({ name }) => idIn(own.iommufd, name, around));
  user.setU32(INFO.offsets.flags, 0);
  user.setU32(INFO.offsets.count, affected.length);
  if (affected.length > room) {
    user.copyOut(task, arg, HEADER);
    fail("ENOSPC", `a hot reset hits more devices (${affected.length}) than argsz leaves room for (${room})`);
  }
  if (ids) user.setU32(INFO.offsets.flags, idFlags(ids));
  const list = new Uint8Array(affected.length * ENTRY.size);
  const view = new StructView(list, task.memory.littleEndian);
  affected.forEach(({ name }, i) => {
    const id = ids ? ids[i]! >>> 0 : around.groupOf(name);
    ENTRY.write(view, i * ENTRY.size, { group_id: id, ...parseAddress(name) });
  });
  task.memory.copyOut(wordAdd(arg, HEADER), list, list.length);
  user.copyOut(task, arg, HEADER);
  return 0;
}

/**
 * VFIO_DEVICE_PCI_HOT_RESET (vfio_pci_ioctl_pci_hot_reset): of a device that was opened through its group by naming
 * groups, of one that was opened by its own node by naming none, and then its iommufd must have all that is hit.
 */
export function hotReset(device: OpenDevice, around: HotResetSurroundings, task: Task, arg: Word): number {
  user.copyInSized(task, arg, HEADER, "vfio_pci_hot_reset");
  if (user.u32(RESET.offsets.flags) !== 0) fail("EINVAL", "no flags are known");
  const count = user.u32(RESET.offsets.count);
  const own = ownNodeOf(device, around);
  if (!device.context.release.has("hotResetCountFirst")) affectedBy(device);
  if (!own && count === 0)
    fail("EINVAL", "a device that was opened through a group is reset by naming all groups that are hit");
  if (own && count > 0) fail("EINVAL", "a device that was opened by its own node is reset without naming groups");
  const affected = affectedBy(device);
  if (own) refuseForeign(own.iommufd, affected, around);
  else checkGroups(affected, around, task, arg, count);
  for (const target of affected) (around.openDevice(target.name) ?? target).reset();
  if (linkStaysDown(device)) {
    fail("ENOTTY", `the link to ${device.target.name} did not come up again in time after the reset`);
  }
  return 0;
}

function ownNodeOf({ target }: OpenDevice, around: HotResetSurroundings): IommufdDevice | undefined {
  const device = around.vfioGroupOf(target.name)?.inIommufd(target.name);
  return device?.ownNode ? device : undefined;
}

/** vfio_pci_fill_devs, vfio_iommufd_get_dev_id: a function's id in an iommufd, or a VFIO_PCI_DEVID_*. */
function idIn(iommufd: DmaOwner, name: string, around: HotResetSurroundings): number {
  const group = around.vfioGroupOf(name);
  const device = group?.inIommufd(name);
  if (device?.iommufd === iommufd) return device.id;
  return group?.dma.isOwnedBy(iommufd) ? VFIO_PCI_DEVID_OWNED : VFIO_PCI_DEVID_NOT_OWNED;
}

function idFlags(ids: readonly number[]): number {
  const isOwned = !ids.includes(VFIO_PCI_DEVID_NOT_OWNED);
  return VFIO_PCI_HOT_RESET_FLAG_DEV_ID | (isOwned ? VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED : 0);
}

function refuseForeign(iommufd: DmaOwner, affected: readonly PciFunction[], around: HotResetSurroundings): void {
  for (const { name } of affected) {
    if (!around.isBound(name)) fail("EINVAL", `${name} would be reset too, and no VFIO driver is bound to it`);
    if (idIn(iommufd, name, around) === VFIO_PCI_DEVID_NOT_OWNED) {
      fail("EINVAL", `${name} would be reset too, and is not in the same iommufd`);
    }
  }
}

/** vfio_pci_ioctl_pci_hot_reset_groups */
function checkGroups(
  affected: readonly PciFunction[],
  around: HotResetSurroundings,
  task: Task,
  arg: Word,
  count: number,
): void {
  if (count > affected.length) {
    fail(
      "EINVAL",
      `more groups are named (${count}) than devices are hit (${affected.length}; GET_PCI_HOT_RESET_INFO lists them)`,
    );
  }
  const groups = readGroups(task, arg, count);
  for (const { name } of affected) {
    if (!around.isBound(name)) fail("EINVAL", `${name} would be reset too, and no VFIO driver is bound to it`);
    if (!groups.has(around.groupOf(name))) {
      fail("EINVAL", `${name} would be reset too, and its group ${around.groupOf(name)} is not among those named`);
    }
  }
}

/** The functions that share the reset: all on the bus. ENODEV on a root bus, above which nothing can reset it. */
function affectedBy({ target, topology }: OpenDevice): PciFunction[] {
  if (!topology.hasResetAbove(target.name)) {
    fail("ENODEV", `${target.name} is on a root bus: no bridge above can reset it`);
  }
  return topology.sameBus(target.name);
}

function readGroups(task: Task, arg: Word, count: number): Set<number> {
  const bytes = new Uint8Array(count * 4);
  task.memory.copyIn(wordAdd(arg, HEADER), bytes, bytes.length);
  const view = new StructView(bytes, task.memory.littleEndian);
  const groups = new Set<number>();
  for (let i = 0; i < count; i++) {
    const fd = view.s32(i * 4);
    const file = task.files.get(fd);
    if (!file) fail("EBADF", `file descriptor ${fd} is not open; a group's was wanted`);
    if (!(file instanceof GroupFile)) fail("EINVAL", `file descriptor ${fd} is no group but ${file.label}`);
    groups.add(file.group.iommuGroup.id);
  }
  return groups;
}

/**
 * QEMU's q35 machine lets the kernel wait in vain for the link of a root port after a bus reset, its virt machine does
 * not (recorded in d_hot_reset_C and _D): the devices are reset, the request fails all the same. Real ports come up
 * again.
 */
function linkStaysDown({ target, context }: OpenDevice): boolean {
  const { vendor, device, subsystemVendor } = target.description;
  const isQemus = vendor === 0x1b36 || subsystemVendor === 0x1af4 || (vendor === 0x8086 && device === 0x10d3);
  return context.arch === "x86_64" && target.isExpress && isQemus;
}
