import type { ParsedCapability } from "../uapi/capability-chain.ts";
import {
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VfioIommuType1Info,
} from "../uapi/vfio-type1.ts";
import { addDevices } from "./add-devices.ts";
import type { Container } from "./container.ts";
import { deviceName } from "./find-group.ts";
import { type IommuInfo, parseIommuInfo } from "./iommu-info.ts";
import type { Transport } from "./transport.ts";

/**
 * The output of the vfio-type1-iova-list test in Alex Williamson's mail of 25 May 2018, line for line: what
 * VFIO_IOMMU_GET_INFO says after each device. A device whose group is in the container already changes nothing and is
 * only announced.
 * @throws as addDevices does
 */
export function iovaList(transport: Transport, devices: readonly string[], write: (line: string) => void): void {
  addDevices(transport, devices, (device, container) => {
    write(`---- Adding device: ${deviceName(device)} ----`);
    if (container) writeInfo(container, transport.littleEndian, write);
  });
}

function writeInfo(container: Container, littleEndian: boolean, write: (line: string) => void): void {
  const size = VfioIommuType1Info.size;
  write(`Initial info struct size: ${hex(size)}`);
  const { argsz: needed } = VfioIommuType1Info.decode(container.rawInfo(size), littleEndian);
  if (needed <= size) {
    write("No caps");
    return;
  }
  write(`Requested info struct size: ${hex(needed)}`);
  const raw = container.rawInfo(needed);
  const { argsz, flags, cap_offset } = VfioIommuType1Info.decode(raw, littleEndian);
  write(`New info struct size: ${hex(argsz)}`);
  write(`argsz: ${hex(argsz)}, flags: ${hex(flags)}, cap_offset: ${hex(cap_offset)}`);
  for (const line of hexDump(raw)) write(line);
  if ((flags & VFIO_IOMMU_INFO_CAPS) === 0) return;
  const info = parseIommuInfo(raw, littleEndian);
  for (const capability of info.capabilities) {
    const { id, version, next } = capability;
    write(`[cap id: ${id}, version: ${version}, next: ${hex(next)}]`);
    for (const line of describe(capability, info)) write(line);
  }
}

/** The mail shows capability 1; the later ones follow its style. */
function describe({ id, version }: ParsedCapability, info: IommuInfo): string[] {
  if (id === VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
    const lines = (info.ranges ?? []).map(
      ({ start, last }, i) => `${decimal(i)}: ${address(start)} - ${address(last)}`,
    );
    return [`Found type1 iova range version: ${version}`, ...lines];
  }
  if (id === VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION && info.migration !== undefined) {
    const { flags, pageSizes, maxDirtyBitmapSize } = info.migration;
    const fields = `flags: ${hex(flags)}, pgsize_bitmap: ${hex(pageSizes)}, max_dirty_bitmap_size: ${hex(maxDirtyBitmapSize)}`;
    return [`Found type1 migration version: ${version}`, fields];
  }
  if (id === VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
    return [`Found type1 dma avail version: ${version}`, `avail: ${info.dmaAvail}`];
  }
  return [];
}

/** Bytes in the order of memory, two and two, sixteen a line, behind their offset. */
function hexDump(bytes: Uint8Array): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const pairs =
      Buffer.from(bytes.subarray(at, at + 16))
        .toString("hex")
        .match(/.{1,4}/g) ?? [];
    lines.push(`${at.toString(16).padStart(2, "0")}: ${pairs.join(" ")}`);
  }
  return lines;
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

function decimal(index: number): string {
  return index.toString().padStart(2, "0");
}

function address(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}
