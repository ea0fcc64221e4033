import { closeSync } from "node:fs";
import type { PciFunction } from "../devices/pci/function.ts";
import { ROM_BAR } from "../devices/pci/registers.ts";
import type { LentDevice } from "../host/host.ts";
import type { DmaOwner } from "../iommu/requester.ts";
import { KernelError } from "../kernel/errors.ts";
import type { FileDescription, SharedMemory } from "../kernel/file-description.ts";
import type { Release } from "../kernel/releases.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VfioDeviceFeature,
} from "../uapi/vfio-feature.ts";
import { DEFAULT_TRANSFER } from "../vfio-user/layouts.ts";
import { newMemory, readAt, writeAt } from "../vfio-user/sockets.ts";
import { type ByMessage, ClientMemory } from "./client-memory.ts";
import { ClientEvent, ClientTask, PLACE } from "./client-task.ts";
import { RegionFiles } from "./region-files.ts";

const PAGE = 4096;

/** A device as one client has it: open, with the client's memory in the place of an IOMMU's mappings. */
export class ClientDevice {
  readonly task = new ClientTask();
  readonly files = new RegionFiles();
  readonly memory: ClientMemory;
  readonly file: FileDescription;
  /** Bytes of data that the client takes in one message. */
  maxTransfer = DEFAULT_TRANSFER;
  readonly #lent: LentDevice;
  readonly #owner: DmaOwner = { label: "the vfio-user client" };
  readonly #regions: ReadonlySet<number>;
  #backing: number | undefined;
  #transfer: FileDescription | undefined;

  /** @throws KernelError when somebody else has the group */
  constructor(lent: LentDevice, release: Release, byMessage: ByMessage) {
    this.#lent = lent;
    this.memory = new ClientMemory(this.files, byMessage);
    const { dma, device, target } = lent;
    dma.claim(this.#owner, release);
    try {
      this.file = device.open(this.task, () => {});
    } catch (error) {
      dma.unclaim(this.#owner);
      throw error;
    }
    dma.connect((name) => (name === device.name ? this.memory : undefined));
    this.#regions = new Set(memoryRegions(target));
    if (this.#regions.size > 0) this.#share();
  }

  /**
   * The descriptor that a region can be mapped by: one that is plain memory. It has the region at its place in the
   * file.
   */
  mappable(region: number): number | undefined {
    return this.#regions.has(region) ? this.#backing : undefined;
  }

  /** An eventfd of the client. @returns its number for a request */
  hold(fd: number, files: FileDescription[]): number {
    const event = new ClientEvent(fd, () => closeSync(fd));
    const number = this.task.files.install(event);
    files.push(event);
    return number;
  }

  /** A request is done: what it did not keep is closed. */
  letGo(files: readonly FileDescription[]): void {
    this.task.files.clear();
    for (const file of files) file.release();
  }

  /** Whether its state can be taken out. */
  get canMigrate(): boolean {
    const { size } = VfioDeviceFeature;
    this.task.memory.bytes = VfioDeviceFeature.encode({
      argsz: size,
      flags: VFIO_DEVICE_FEATURE_MIGRATION | VFIO_DEVICE_FEATURE_PROBE,
    });
    return answers(() => this.file.ioctl(this.task, VFIO_DEVICE_FEATURE, PLACE));
  }

  /** What the device saves, or resumes from. */
  get saved(): FileDescription | undefined {
    return this.#transfer;
  }

  /** A transfer begins, or the one before ends. */
  transfer(file: FileDescription | undefined): void {
    this.#transfer?.release();
    this.#transfer = file;
  }

  /** The client has gone. */
  close(): void {
    const { dma } = this.#lent;
    this.transfer(undefined);
    this.file.release();
    dma.disconnect();
    dma.unclaim(this.#owner);
    this.memory.unmapAll();
    if (this.#backing !== undefined) closeSync(this.#backing);
  }

  #share(): void {
    const fd = newMemory("uvfio-regions", this.file.memorySize);
    this.#backing = fd;
    const memory: SharedMemory = {
      read: (offset, into) => void readAt(fd, into, offset),
      write: (offset, from) => void writeAt(fd, from, offset),
    };
    this.file.attachMemory(memory);
  }
}

/** Whether a request is known. */
function answers(request: () => void): boolean {
  try {
    request();
    return true;
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

/** The BARs that are plain memory of whole pages. */
function* memoryRegions({ description, model }: PciFunction): Generator<number> {
  if (!description.mmap) return;
  for (const { index, size, type } of description.bars)
    if (index !== ROM_BAR && type !== "io" && size % PAGE === 0 && model.memory(index)) yield index;
}
