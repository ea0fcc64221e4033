import { VIRTUAL_PAGES } from "./area.ts";
import type { DeviceKind } from "./dma.ts";
import { type Address, FAULT, type Mapped, type Outcome, throughGuest, throughMappings } from "./translate.ts";

/**
 * Who may reach what through iommufd: written from docs/iommufd-nesting.md and docs/sample-mdev.md. A device's requests go by the page table that
 * its own owner attached it to, for each PASID on its own; a mediated device has no PASIDs.
 */

/** An iommufd with one address space, and at most one parent table and one nested table over it. */
export class Space {
  readonly process: number;
  readonly slot: number;
  fd = -1;
  area = 0;
  ioas = 0;
  parent = 0;
  nested = 0;
  readonly devices = new Set<Device>();
  readonly maps = new Map<number, Mapped>();
  readonly leaves = new Array<number>(VIRTUAL_PAGES).fill(-1);
  /** By virtual page: what the nested table may lead to. */
  remembered: Set<number>[] = [];
  readonly words: number[] = [];
  seen: readonly Uint8Array[] | undefined;

  constructor(process: number, slot: number) {
    this.process = process;
    this.slot = slot;
  }

  get name(): string {
    return `p${this.process}f${this.slot}`;
  }

  /** Whether any device is attached to one of its tables. */
  uses(table: Table): boolean {
    for (const { plain, pasids } of this.devices) {
      if (plain === table) return true;
      for (const each of pasids.values()) if (each === table) return true;
    }
    return false;
  }

  forgetOld(): void {
    this.remembered = this.leaves.map((page) => new Set([page]));
  }
}

/** What a device is attached to: the address space itself, a table over it, or the guest's table nested on that. */
export type Table = "space" | "parent" | "nested";

export interface DeviceFacts {
  readonly name: string;
  readonly kind: DeviceKind;
  /** The id of the group that it is alone in: groups are numbered as devices are, from 1 on. */
  readonly group: number;
}

export function nodeOf({ group }: DeviceFacts): string {
  return `/dev/vfio/devices/vfio${group - 1}`;
}

export class Device implements DeviceFacts {
  readonly name: string;
  readonly kind: DeviceKind;
  readonly group: number;
  process = -1;
  fd = -1;
  id = 0;
  /** The iommufd that it is bound to. */
  space: Space | undefined;
  plain: Table | undefined;
  readonly pasids = new Map<number, Table>();

  constructor({ name, kind, group }: DeviceFacts) {
    this.name = name;
    this.kind = kind;
    this.group = group;
  }

  /** Its own node. */
  get node(): string {
    return nodeOf(this);
  }

  get isAttached(): boolean {
    return this.plain !== undefined || this.pasids.size > 0;
  }
}

export function reachSpace(device: Device, pasid: number | undefined, address: Address, write: boolean): Outcome {
  const { space, kind } = device;
  // an IOMMU translates for a mediated device with one, and there is no PASID for it: nothing can be reached
  if (!space || kind === "backed" || (kind === "plain" && pasid !== undefined)) return FAULT;
  const table = pasid === undefined ? device.plain : device.pasids.get(pasid);
  if (table === undefined) return FAULT;
  if (table === "nested") return throughGuest(space, space.remembered, address, write);
  return throughMappings(space, address, write);
}
