import { ROM_BAR } from "../../devices/pci/registers.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { type CapabilityStructure, encodeCapabilityChain } from "../../uapi/capability-chain.ts";
import { roundUp } from "../../uapi/layout.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { VfioInfoCapHeader } from "../../uapi/vfio.ts";
import {
  VfioRegionSparseMmapArea as AREA,
  VfioRegionInfoCapSparseMmap as SPARSE,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_VGA_REGION_INDEX,
  VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
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
const MSIX_MAPPABLE = {
  id: VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
  version: 1,
  structure: new Uint8Array(VfioInfoCapHeader.size),
};

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
  // regions without capabilities leave cap_offset as it was
  const capabilities =
    flags & VFIO_REGION_INFO_FLAG_MMAP ? capabilitiesOf(device, index, size, task.memory.littleEndian) : [];
  if (capabilities.length > 0) addCapabilities(device, task, arg, capabilities);
  return user.answer(task, arg, SIZE, device.context.release);
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
  const mappable = isMappable(target, index, context);
  return { size: bar.size, flags: mappable ? readWrite | VFIO_REGION_INFO_FLAG_MMAP : readWrite };
}

/** The parts of a region that its device lets be mapped, and what a region with the MSI-X table says of that. */
function capabilitiesOf(
  device: OpenDevice,
  index: number,
  size: number,
  littleEndian: boolean,
): readonly CapabilityStructure[] {
  const areas = device.target.model.mappableAreas?.(index);
  const ofTable = capabilityOfTable(device, index, size, littleEndian);
  if (!areas) return ofTable ? [ofTable] : [];
  const sparse = sparseCapability(
    areas.map((area) => ({ offset: BigInt(area.offset), size: BigInt(area.size) })),
    littleEndian,
  );
  return ofTable === MSIX_MAPPABLE ? [ofTable, sparse] : [sparse];
}

/**
 * What a mappable region with the MSI-X table says of it: that it can be mapped along, or which areas lie around it
 * (msix_sparse_mmap_cap).
 */
function capabilityOfTable(
  { target, context }: OpenDevice,
  index: number,
  size: number,
  littleEndian: boolean,
): CapabilityStructure | undefined {
  const table = msixTable(target);
  if (table?.bar !== index) return undefined;
  if (context.release.has("msixTableMappable")) return MSIX_MAPPABLE;
  if (!context.release.has("sparseMmapCapability")) return undefined;
  const { pageSize } = context;
  const before = table.start - (table.start % pageSize);
  const behind = roundUp(table.end, pageSize);
  const areas = [
    ...(before > 0 ? [{ offset: 0n, size: BigInt(before) }] : []),
    ...(behind < size ? [{ offset: BigInt(behind), size: BigInt(size - behind) }] : []),
  ];
  // a table that takes all pages leaves one empty area
  return sparseCapability(areas.length === 0 ? [{ offset: 0n, size: 0n }] : areas, littleEndian);
}

function sparseCapability(
  areas: readonly { readonly offset: bigint; readonly size: bigint }[],
  littleEndian: boolean,
): CapabilityStructure {
  const structure = SPARSE.encode({ nr_areas: areas.length }, areas.length * AREA.size, littleEndian);
  const view = new StructView(structure, littleEndian);
  areas.forEach((area, i) => {
    AREA.write(view, SPARSE.size + i * AREA.size, area);
  });
  return { id: VFIO_REGION_INFO_CAP_SPARSE_MMAP, version: 1, structure };
}

function addCapabilities(
  device: OpenDevice,
  task: Task,
  arg: Word,
  capabilities: readonly CapabilityStructure[],
): void {
  const chain = encodeCapabilityChain(
    SIZE,
    capabilities,
    device.context.release.has("alignedCapabilities"),
    task.memory.littleEndian,
  );
  user.setU32(AT.flags, user.u32(AT.flags) | VFIO_REGION_INFO_FLAG_CAPS);
  if (user.u32(AT.argsz) < SIZE + chain.length) {
    user.setU32(AT.argsz, SIZE + chain.length);
    user.setU32(AT.cap_offset, 0);
    return;
  }
  task.memory.copyOut(wordAdd(arg, SIZE), chain, chain.length);
  user.setU32(AT.cap_offset, SIZE);
}
