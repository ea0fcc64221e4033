import { ROM_BAR } from "../../devices/pci/registers.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { encodeCapabilityChain } from "../../uapi/capability-chain.ts";
import {
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_VGA_REGION_INDEX,
  VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  VfioRegionInfo,
} from "../../uapi/vfio-device.ts";
import { UserStruct } from "../user-struct.ts";
import type { OpenDevice } from "./open-device.ts";
import { isMappable, msixTable, regionOffset } from "./region.ts";
import { noVgaReason, VGA_REGION_SIZE } from "./vga-region.ts";

const AT = VfioRegionInfo.offsets;
const SIZE = VfioRegionInfo.size;
const MSIX_MAPPABLE = { id: VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, version: 1, body: new Uint8Array() };

const user = new UserStruct(SIZE);

interface RegionFacts {
  readonly size: number;
  /** VFIO_REGION_INFO_FLAG_* */
  readonly flags: number;
}

/** VFIO_DEVICE_GET_REGION_INFO (vfio_pci_core.c:vfio_pci_ioctl_get_region_info). */
export function getRegionInfo(device: OpenDevice, task: Task, arg: Word): number {
  user.copyInSized(task, arg, SIZE, "vfio_region_info");
  const index = user.u32(AT.index);
  if (index >= VFIO_PCI_NUM_REGIONS)
    fail("EINVAL", `a PCI device has regions 0 to ${VFIO_PCI_NUM_REGIONS - 1}, not ${index}`);
  if (index === VFIO_PCI_VGA_REGION_INDEX && device.server === "vfio-pci" && !device.vga)
    fail("EINVAL", noVgaReason(device.target.name, device.target.description));
  const { size, flags } = factsOf(device, index);
  user.setU32(AT.flags, flags);
  user.setU64(AT.size, BigInt(size));
  user.setU64(AT.offset, BigInt(regionOffset(index)));
  // the table of MSI-X can be mapped along, and the capability says so; regions without capabilities leave cap_offset as it was
  if (flags & VFIO_REGION_INFO_FLAG_MMAP && msixTable(device.target)?.bar === index) addCapability(device, task, arg);
  user.copyOut(task, arg, SIZE);
  return 0;
}

function factsOf(device: OpenDevice, index: number): RegionFacts {
  const { target, config, context } = device;
  const readWrite = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
  if (index === VFIO_PCI_CONFIG_REGION_INDEX) return { size: config.size, flags: readWrite };
  if (index === VFIO_PCI_VGA_REGION_INDEX && device.vga) return { size: VGA_REGION_SIZE, flags: readWrite };
  const bar = target.bar(index);
  if (bar === undefined) return { size: 0, flags: 0 };
  // a ROM without an image cannot be mapped by the kernel either
  if (index === ROM_BAR && target.description.rom === "none") return { size: 0, flags: 0 };
  if (index === ROM_BAR) return { size: bar.size, flags: VFIO_REGION_INFO_FLAG_READ };
  const mappable = isMappable(target, index, context.pageSize);
  return { size: bar.size, flags: mappable ? readWrite | VFIO_REGION_INFO_FLAG_MMAP : readWrite };
}

function addCapability(device: OpenDevice, task: Task, arg: Word): void {
  const chain = encodeCapabilityChain(SIZE, [MSIX_MAPPABLE], device.context.release.has("alignedCapabilities"));
  user.setU32(AT.flags, user.u32(AT.flags) | VFIO_REGION_INFO_FLAG_CAPS);
  if (user.u32(AT.argsz) < SIZE + chain.length) {
    user.setU32(AT.argsz, SIZE + chain.length);
    user.setU32(AT.cap_offset, 0);
    return;
  }
  task.memory.copyOut(wordAdd(arg, SIZE), chain, chain.length);
  user.setU32(AT.cap_offset, SIZE);
}
