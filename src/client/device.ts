import { type Word, wordFromBigInt } from "../kernel/word.ts";
import { type Capability, parseCapabilityChain } from "../uapi/capability-chain.ts";
import {
  VFIO_DEVICE_FLAGS_CAPS,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_REGION_INFO_FLAG_CAPS,
  VfioDeviceInfo,
  VfioIrqInfo,
  VfioRegionInfo,
} from "../uapi/vfio-device.ts";
import { readInfo } from "./read-info.ts";
import type { MapFile, Mapping, Transport } from "./transport.ts";

export interface DeviceInfo {
  /** VFIO_DEVICE_FLAGS_*. */
  readonly flags: number;
  /** Region indexes that there are; not every one needs to be a region. */
  readonly numRegions: number;
  readonly numIrqs: number;
  readonly capabilities: readonly Capability[];
}

export interface RegionInfo {
  readonly index: number;
  /** VFIO_REGION_INFO_FLAG_*. */
  readonly flags: number;
  /** Bytes; 0 when the device has no such region. */
  readonly size: bigint;
  /** Where it lies in the device's file. */
  readonly offset: bigint;
  readonly capabilities: readonly Capability[];
}

export interface IrqInfo {
  readonly index: number;
  /** VFIO_IRQ_INFO_*. */
  readonly flags: number;
  /** Vectors of this kind. */
  readonly count: number;
}

/** An open device. Every call throws SystemCallError when it fails. */
export class Device {
  readonly fd: number;
  readonly name: string;
  private readonly transport: Transport;
  /** Where regions begin in the device's file does not change while it is open. */
  private readonly regionOffsets = new Map<number, bigint>();

  constructor(transport: Transport, fd: number, name: string) {
    this.transport = transport;
    this.fd = fd;
    this.name = name;
  }

  close(): void {
    this.transport.close(this.fd);
  }

  info(): DeviceInfo {
    const { littleEndian } = this.transport;
    const raw = readInfo(
      (argsz) => {
        const info = VfioDeviceInfo.encode({ argsz }, argsz - VfioDeviceInfo.size, littleEndian);
        this.transport.ioctl(this.fd, VFIO_DEVICE_GET_INFO, info, "VFIO_DEVICE_GET_INFO");
        return info;
      },
      VfioDeviceInfo.size,
      littleEndian,
    );
    const { flags, num_regions, num_irqs, cap_offset } = VfioDeviceInfo.decode(raw, littleEndian);
    const first = (flags & VFIO_DEVICE_FLAGS_CAPS) === 0 ? 0 : cap_offset;
    const capabilities = parseCapabilityChain(raw, first, VfioDeviceInfo.size, littleEndian);
    return { flags, numRegions: num_regions, numIrqs: num_irqs, capabilities };
  }

  /** @param index VFIO_PCI_*_REGION_INDEX */
  regionInfo(index: number): RegionInfo {
    const { littleEndian } = this.transport;
    const raw = readInfo(
      (argsz) => {
        const info = VfioRegionInfo.encode({ argsz, index }, argsz - VfioRegionInfo.size, littleEndian);
        this.transport.ioctl(this.fd, VFIO_DEVICE_GET_REGION_INFO, info, "VFIO_DEVICE_GET_REGION_INFO");
        return info;
      },
      VfioRegionInfo.size,
      littleEndian,
    );
    const { flags, size, offset, cap_offset } = VfioRegionInfo.decode(raw, littleEndian);
    const first = (flags & VFIO_REGION_INFO_FLAG_CAPS) === 0 ? 0 : cap_offset;
    const capabilities = parseCapabilityChain(raw, first, VfioRegionInfo.size, littleEndian);
    return { index, flags, size, offset, capabilities };
  }

  /** @param index VFIO_PCI_*_IRQ_INDEX */
  irqInfo(index: number): IrqInfo {
    const { littleEndian } = this.transport;
    const info = VfioIrqInfo.encode({ argsz: VfioIrqInfo.size, index }, 0, littleEndian);
    this.transport.ioctl(this.fd, VFIO_DEVICE_GET_IRQ_INFO, info, "VFIO_DEVICE_GET_IRQ_INFO");
    const { flags, count } = VfioIrqInfo.decode(info, littleEndian);
    return { index, flags, count };
  }

  reset(): void {
    this.transport.ioctl(this.fd, VFIO_DEVICE_RESET, 0, "VFIO_DEVICE_RESET");
  }

  /** Reads from `offset` bytes into a region; fewer bytes come back where it ends. */
  readRegion(index: number, offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const count = this.transport.pread(this.fd, bytes, this.placeOf(index, offset));
    return bytes.subarray(0, count);
  }

  /** Writes to `offset` bytes into a region; returns how many bytes were written. */
  writeRegion(index: number, offset: number, bytes: Uint8Array): number {
    return this.transport.pwrite(this.fd, bytes, this.placeOf(index, offset));
  }

  /**
   * Maps a region whose info has VFIO_REGION_INFO_FLAG_MMAP, from `offset` bytes into it on.
   * @param part the whole region, for reading and writing, when left out; in whole pages
   */
  mapRegion(index: number, part: Partial<MapFile> = {}): Mapping {
    const { offset = 0, length, ...access } = part;
    const rest = length ?? Number(this.regionInfo(index).size - BigInt(offset));
    return this.transport.mmap(this.fd, { ...access, offset: this.placeOf(index, offset), length: rest });
  }

  /** Where in the device's file `offset` bytes into a region are. */
  private placeOf(index: number, offset: Word): Word {
    return wordFromBigInt(this.regionOffset(index) + BigInt(offset));
  }

  private regionOffset(index: number): bigint {
    const known = this.regionOffsets.get(index) ?? this.regionInfo(index).offset;
    this.regionOffsets.set(index, known);
    return known;
  }
}
