import type { AccessWidth } from "../../devices/device-model.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordFromBigInt } from "../../kernel/word.ts";
import { VFIO_PCI_BAR5_REGION_INDEX } from "../../uapi/vfio-device.ts";
import { VFIO_DEVICE_IOEVENTFD_64, VFIO_DEVICE_IOEVENTFD_SIZE_MASK, VfioDeviceIoeventfd } from "../../uapi/vfio-pci.ts";
import { UserStruct } from "../user-struct.ts";
import { eventOf } from "./event.ts";
import type { OpenDevice } from "./open-device.ts";
import { msixTable, refuseClaimed, splitOffset } from "./region.ts";

/** vfio_pci_core.h: VFIO_PCI_IOEVENTFD_MAX */
const IOEVENTFD_MAX = 1000;

const AT = VfioDeviceIoeventfd.offsets;
const MINIMUM = VfioDeviceIoeventfd.endOf("fd");
const user = new UserStruct(VfioDeviceIoeventfd.size);

/** VFIO_DEVICE_IOEVENTFD (vfio_pci_core.c:vfio_pci_ioctl_ioeventfd, vfio_pci_rdwr.c:vfio_pci_ioeventfd). */
export function ioeventfd(device: OpenDevice, task: Task, arg: Word): number {
  user.copyInSized(task, arg, MINIMUM, "vfio_device_ioeventfd");
  const flags = user.u32(AT.flags);
  if (flags & ~VFIO_DEVICE_IOEVENTFD_SIZE_MASK) fail("EINVAL", `unknown flag bits in ${hex(flags)}`);
  if (flags !== 1 && flags !== 2 && flags !== 4 && flags !== 8) fail("EINVAL", "exactly one width must be given");
  const fd = user.view.s32(AT.fd);
  if (fd < -1) fail("EINVAL", `${fd} is no descriptor; -1 takes an eventfd back`);
  const offset = user.u64(AT.offset);
  const data = user.u64(AT.data);
  const place = splitOffset(wordFromBigInt(offset));
  if (!place || place.index > VFIO_PCI_BAR5_REGION_INDEX) fail("EINVAL", `offset ${hex(offset)} lies in no BAR`);
  const { index: bar, at } = place;
  const size = device.target.bar(bar)?.size ?? 0;
  if (at + flags > size) fail("EINVAL", `BAR ${bar} has ${hex(size)} bytes; ${hex(at)} plus ${flags} is beyond`);
  const table = msixTable(device.target);
  if (table?.bar === bar && at + flags > table.start && at < table.end) {
    fail("EINVAL", `${hex(at)} of BAR ${bar} lies in the MSI-X table, which SET_IRQS looks after`);
  }
  if (flags === VFIO_DEVICE_IOEVENTFD_64 && !writesQwords(device))
    fail(
      "EINVAL",
      `${device.target.name}: kernels of this release do not write 8 bytes at once on ${device.context.arch}`,
    );
  refuseClaimed(device.target, bar);
  setIoeventfd(device, task, bar, at, flags, data, fd);
  return 0;
}

/** Whether the kernel has iowrite64() (vfio_pci_rdwr.c: #ifdef iowrite64). */
function writesQwords({ context: { arch, release } }: OpenDevice): boolean {
  if (arch === "s390x") return release.has("zpciQwordEvents");
  return arch !== "x86_64" || release.has("qwordEverywhere");
}

function setIoeventfd(
  device: OpenDevice,
  task: Task,
  bar: number,
  at: number,
  width: AccessWidth,
  data: bigint,
  fd: number,
): void {
  const { ioeventfds } = device;
  const existing = ioeventfds.find(bar, at, width, data);
  if (existing) {
    if (fd >= 0) fail("EEXIST", `BAR ${bar} ${hex(at)}: an eventfd for this value is there already`);
    ioeventfds.remove(existing);
    return;
  }
  if (fd < 0) fail("ENODEV", `BAR ${bar} ${hex(at)}: no eventfd to take back`);
  if (ioeventfds.size >= IOEVENTFD_MAX) fail("ENOSPC", `a device has at most ${IOEVENTFD_MAX} ioeventfds`);
  const event = eventOf(task, fd);
  const inMemory = device.target.bar(bar)!.type !== "io";
  const stop = event.watch?.(() => {
    if (!inMemory || device.config.memoryEnabled) device.target.writeRegion(bar, at, width, data);
  });
  ioeventfds.add({ bar, at, width, data, event, stop });
}
