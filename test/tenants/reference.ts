import { LISTED_PASIDS, VIRTUAL_PAGES } from "./area.ts";
import type { DeviceKind } from "./dma.ts";
import { type Address, FAULT, type Mapped, type Outcome, throughGuest, throughMappings } from "./translate.ts";

/**
 * Who may reach what, in plain words and sets: written from docs/vsva.md, docs/iommu-op.md and docs/sample-mdev.md, with nothing of the product's.
 * A request without a PASID goes by the mappings of the container that the device's group is in. A request with one goes by a binding that was
 * made in that container while the group was in it, and by nothing else.
 */

/** What a PASID leads to. Of guests' tables, which pages an address may lead to: old ones too, until they are invalidated. */
export interface Binding {
  readonly kind: "guest" | "process";
  readonly groups: Set<Group>;
  readonly leaves: Set<number>[];
}

/** A container. */
export class Box {
  readonly process: number;
  readonly slot: number;
  fd = -1;
  /** The address of its area in the process's memory; 0 before there is one. */
  area = 0;
  /** 0 until its IOMMU is set. */
  type = 0;
  readonly groups = new Set<Group>();
  readonly maps = new Map<number, Mapped>();
  readonly bindings = new Map<number, Binding>();
  table: Binding | undefined;
  readonly pasids = new Set<number>();
  /** What is entered for each virtual page now; -1 for nothing. */
  readonly leaves = new Array<number>(VIRTUAL_PAGES).fill(-1);
  /** What stands at the beginning of each page. */
  readonly words: number[] = [];
  /** GET_INFO and PROBE as last seen. */
  seen: readonly Uint8Array[] | undefined;

  constructor(process: number, slot: number) {
    this.process = process;
    this.slot = slot;
  }

  get name(): string {
    return `p${this.process}c${this.slot}`;
  }

  /** With its last group a container is as new. */
  reset(): void {
    this.type = 0;
    this.maps.clear();
    this.bindings.clear();
    this.table = undefined;
    this.pasids.clear();
    this.seen = undefined;
  }

  newBinding(kind: Binding["kind"]): Binding {
    return { kind, groups: new Set(this.groups), leaves: this.leaves.map((page) => new Set([page])) };
  }

  get allBindings(): Binding[] {
    return [...this.bindings.values(), ...(this.table ? [this.table] : [])];
  }

  get hasPlain(): boolean {
    for (const { kind } of this.groups) if (kind === "plain") return true;
    return false;
  }

  get hasMediated(): boolean {
    for (const { kind } of this.groups) if (kind !== "pci") return true;
    return false;
  }
}

export interface GroupFacts {
  readonly id: number;
  readonly kind: DeviceKind;
  readonly device: string;
  /** Whose requests the IOMMU sees: the device itself, or the parent. */
  readonly requester: string;
}

/** A group with its one device. */
export class Group implements GroupFacts {
  readonly id: number;
  readonly kind: DeviceKind;
  readonly device: string;
  readonly requester: string;
  /** Which process has it open; -1 for none. */
  process = -1;
  fd = -1;
  deviceFd = -1;
  box: Box | undefined;

  constructor({ id, kind, device, requester }: GroupFacts) {
    this.id = id;
    this.kind = kind;
    this.device = device;
    this.requester = requester;
  }

  get path(): string {
    return `/dev/vfio/${this.id}`;
  }
}

/** Where a request may go. `index`: a page of the window, a virtual page, or a page of the process's area `slot`. */
export function reach(
  group: Group,
  pasid: number | undefined,
  address: Address & { readonly area: Box | undefined },
  write: boolean,
): Outcome {
  const { box } = group;
  if (!box || box.type === 0) return FAULT;
  if (pasid === undefined) {
    return throughMappings(box, address, write);
  }
  if (group.kind === "plain") return FAULT;
  const isListed = box.table?.groups.has(group) && pasid >= 1 && pasid <= LISTED_PASIDS;
  const binding = box.bindings.get(pasid);
  if (isListed) return throughGuest(box, box.table!.leaves, address, write);
  if (!binding?.groups.has(group)) return FAULT;
  if (binding.kind === "guest") return throughGuest(box, binding.leaves, address, write);
  if (address.kind !== "process" || !address.area || address.area.process !== box.process) return FAULT;
  return { places: [{ box: address.area, page: address.index }], mayFault: false };
}
