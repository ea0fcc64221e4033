import type { IommuDomain } from "../../iommu/domain.ts";
import type { NestingIommus } from "../../iommu/nesting-iommus.ts";
import type { RequesterIdentity } from "../../iommu/requester.ts";
import type { IommuUnit } from "../../iommu/unit.ts";
import type { UserData } from "../../iommu/user-data.ts";
import type { MappedWindow, VirtualIommu, VirtualIommuGround, VirtualIommuKind } from "../../iommu/virtual-iommu.ts";
import { fail } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { Hwpt } from "../devices/hwpt.ts";
import type { MmapWindows } from "../mmap-windows.ts";
import { IommufdObject } from "../object-table.ts";
import type { EventQueue, QueueOwner } from "./event-queue.ts";

/** A device's number in a virtual IOMMU, as that knows it. */
export interface NumberedDevice {
  readonly virtId: bigint;
  readonly identity: RequesterIdentity;
}

/** What a virtual IOMMU stands on. */
export interface ViommuSurroundings {
  readonly iommus: NestingIommus;
  readonly windows: MmapWindows;
  readonly littleEndian: boolean;
  readonly pageSize: number;
  warn(message: string): void;
}

/** A share of an IOMMU that a guest's own IOMMU driver talks to (struct iommufd_viommu). */
export class Viommu extends IommufdObject implements VirtualIommuGround, QueueOwner {
  /** What its tables are nested on. */
  readonly parent: Hwpt;
  /** The IOMMU that it is a share of. */
  readonly unit: IommuUnit;
  readonly littleEndian: boolean;
  readonly pageSize: number;
  /** By the number that a guest has for them. */
  readonly #devices = new Map<bigint, NumberedDevice>();
  readonly #queues = new Map<number, EventQueue>();
  readonly #windows: MmapWindows;
  readonly #warn: (message: string) => void;
  readonly #iommus: NestingIommus;
  #driver: VirtualIommu | undefined;

  constructor(parent: Hwpt, unit: IommuUnit, surroundings: ViommuSurroundings) {
    super();
    const { iommus, windows, littleEndian, pageSize, warn } = surroundings;
    this.#iommus = iommus;
    this.parent = parent;
    this.unit = unit;
    this.littleEndian = littleEndian;
    this.pageSize = pageSize;
    this.#windows = windows;
    this.#warn = warn;
    parent.users++;
  }

  /** Its driver makes its part. Errors are the driver's. */
  init(kind: VirtualIommuKind, data: UserData | undefined): void {
    this.#driver = kind.make(this, data, this.#iommus);
  }

  get parentDomain(): IommuDomain {
    return this.parent.domainIn(this.#iommus);
  }

  get driver(): VirtualIommu {
    if (!this.#driver) throw new Error(`${this.label} is not complete`);
    return this.#driver;
  }

  get label(): string {
    return `virtual IOMMU ${this.id}`;
  }

  /** Whether a device is behind the IOMMU that this is a share of. */
  isOf(unit: IommuUnit): boolean {
    return unit.driver === this.unit.driver && unit.instance === this.unit.instance;
  }

  numberOf(device: RequesterIdentity): bigint | undefined {
    // the lowest number, as the kernel's array is walked
    let found: bigint | undefined;
    for (const { virtId, identity } of this.#devices.values()) {
      if (identity === device && (found === undefined || virtId < found)) found = virtId;
    }
    return found;
  }

  deviceAt(number: bigint): RequesterIdentity | undefined {
    return this.#devices.get(number)?.identity;
  }

  /** A device gets a number. EEXIST when another one has it; what the driver refuses. */
  number(device: NumberedDevice): void {
    faultPoint("failslab");
    const other = this.#devices.get(device.virtId);
    if (other) fail("EEXIST", `${other.identity.name} has the number ${device.virtId} in ${this.label}`);
    this.driver.accept?.(device.identity);
    this.#devices.set(device.virtId, device);
  }

  /** It has that number no more. */
  unnumber(device: NumberedDevice): void {
    if (this.#devices.get(device.virtId) === device) this.#devices.delete(device.virtId);
  }

  queueOf(type: number): EventQueue | undefined {
    return this.#queues.get(type);
  }

  addQueue(queue: EventQueue): void {
    this.#queues.set(queue.type, queue);
  }

  removeQueue(queue: EventQueue): void {
    this.#queues.delete(queue.type);
  }

  report(type: number, event: Uint8Array): void {
    const queue = this.#queues.get(type) ?? fail("EOPNOTSUPP", `${this.label} has no event queue of type ${type}`);
    queue.report(event);
  }

  hears(type: number): boolean {
    return this.#queues.has(type);
  }

  warn(message: string): void {
    this.#warn(message);
  }

  shareMemory(length: number): MappedWindow {
    return this.#windows.add(length, this);
  }

  destroy(): void {
    this.#driver?.release();
    this.parent.users--;
  }
}
