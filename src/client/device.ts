import { type Word, wordFromBigInt } from "../kernel/word.ts";
import { type Capability, parseCapabilityChain } from "../uapi/capability-chain.ts";
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_ATTACH_PASID,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  VFIO_DEVICE_DETACH_PASID,
  VfioDeviceAttachIommufdPt,
  VfioDeviceBindIommufd,
  VfioDeviceDetachIommufdPt,
} from "../uapi/vfio-cdev.ts";
import {
  VFIO_DEVICE_FLAGS_CAPS,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_REGION_INFO_FLAG_CAPS,
  VfioDeviceInfo,
  VfioIrqInfo,
  VfioRegionInfo,
} from "../uapi/vfio-device.ts";
import { callStruct } from "./call-struct.ts";
import type { Hwpt } from "./hwpt.ts";
import type { Ioas } from "./ioas.ts";
import type { Iommufd } from "./iommufd.ts";
import { encodeIrqSet, type IrqRequest } from "./irq-request.ts";
import { OpenFile } from "./open-file.ts";
import { readInfo } from "./read-info.ts";
import type { MapFile, Mapping, Transport } from "./transport.ts";

/** What VFIO_DEVICE_GET_INFO says. */
export interface DeviceInfo {
  /** VFIO_DEVICE_FLAGS_*. */
  readonly flags: number;
  /** Region indexes that there are; not every one needs to be a region. */
  readonly numRegions: number;
  /** Interrupt indexes that there are. */
  readonly numIrqs: number;
  /** Capabilities as they stand there (VFIO_DEVICE_INFO_CAP_*). */
  readonly capabilities: readonly Capability[];
}

/** What VFIO_DEVICE_GET_REGION_INFO says of one region. */
export interface RegionInfo {
  /** VFIO_PCI_*_REGION_INDEX. */
  readonly index: number;
  /** VFIO_REGION_INFO_FLAG_*. */
  readonly flags: number;
  /** Bytes; 0 when the device has no such region. */
  readonly size: bigint;
  /** Where it lies in the device's file. */
  readonly offset: bigint;
  /** Capabilities as they stand there (VFIO_REGION_INFO_CAP_*). */
  readonly capabilities: readonly Capability[];
}

/** What VFIO_DEVICE_GET_IRQ_INFO says of one index. */
export interface IrqInfo {
  /** VFIO_PCI_*_IRQ_INDEX. */
  readonly index: number;
  /** VFIO_IRQ_INFO_*. */
  readonly flags: number;
  /** Vectors of this kind. */
  readonly count: number;
}

/** An open device. Every call throws SystemCallError when it fails. */
export class Device extends OpenFile {
  /** "0000:00:1b.0", or a mediated device's UUID. */
  readonly name: string;
  /** Where regions begin in the device's file does not change while it is open. */
  private readonly regionOffsets = new Map<number, bigint>();

  /** For Group.getDevice() and openDevice(). */
  constructor(transport: Transport, fd: number, name: string) {
    super(transport, fd);
    this.name = name;
  }

  /** What the device is, and how many regions and interrupt indexes there are. */
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

  /**
   * Where a region is, and what can be done with it.
   * @param index VFIO_PCI_*_REGION_INDEX
   */
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

  /**
   * How many vectors an index has, and what can be done with them.
   * @param index VFIO_PCI_*_IRQ_INDEX
   */
  irqInfo(index: number): IrqInfo {
    const { littleEndian } = this.transport;
    const info = VfioIrqInfo.encode({ argsz: VfioIrqInfo.size, index }, 0, littleEndian);
    this.transport.ioctl(this.fd, VFIO_DEVICE_GET_IRQ_INFO, info, "VFIO_DEVICE_GET_IRQ_INFO");
    const { flags, count } = VfioIrqInfo.decode(info, littleEndian);
    return { index, flags, count };
  }

  /**
   * Connects interrupts with eventfds, raises, masks or unmasks them (VFIO_DEVICE_SET_IRQS).
   *
   * With `events` vector `start + n` adds to the n-th eventfd, and to none where that is null. A count of 0 switches
   * the whole index off. EINVAL for what does not add up, with the reason where the model answers.
   */
  setIrqs(request: IrqRequest): void {
    const argument = encodeIrqSet(request, this.transport.littleEndian);
    this.transport.ioctl(this.fd, VFIO_DEVICE_SET_IRQS, argument, "VFIO_DEVICE_SET_IRQS");
  }

  /**
   * Gives a device that was opened by its own node to an iommufd (VFIO_DEVICE_BIND_IOMMUFD): before that nothing else
   * works on it.
   * @returns the device's id there
   */
  bindIommufd(iommufd: Pick<Iommufd, "fd">): number {
    const fields = { argsz: VfioDeviceBindIommufd.size, iommufd: iommufd.fd };
    return callStruct(this, VFIO_DEVICE_BIND_IOMMUFD, "VFIO_DEVICE_BIND_IOMMUFD", VfioDeviceBindIommufd, fields)
      .out_devid;
  }

  /**
   * Attaches it to an address space or a page table; what it was attached to before is replaced
   * (VFIO_DEVICE_ATTACH_IOMMUFD_PT).
   * @param pasid only what the device does with this PASID
   * @returns the id of the page table in use
   */
  attach(to: Pick<Ioas | Hwpt, "id">, pasid?: number): number {
    const layout = VfioDeviceAttachIommufdPt;
    const fields =
      pasid === undefined
        ? { argsz: layout.endOf("pt_id"), pt_id: to.id }
        : { argsz: layout.size, flags: VFIO_DEVICE_ATTACH_PASID, pt_id: to.id, pasid };
    return callStruct(this, VFIO_DEVICE_ATTACH_IOMMUFD_PT, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", layout, fields).pt_id;
  }

  /** Detaches it again (VFIO_DEVICE_DETACH_IOMMUFD_PT), or what it does with one PASID. */
  detach(pasid?: number): void {
    const layout = VfioDeviceDetachIommufdPt;
    const fields =
      pasid === undefined
        ? { argsz: layout.endOf("flags") }
        : { argsz: layout.size, flags: VFIO_DEVICE_DETACH_PASID, pasid };
    callStruct(this, VFIO_DEVICE_DETACH_IOMMUFD_PT, "VFIO_DEVICE_DETACH_IOMMUFD_PT", layout, fields);
  }

  /** Resets the function (VFIO_DEVICE_RESET): ENOTTY or EINVAL for a device that cannot be. */
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
