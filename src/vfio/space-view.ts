import type { IovaRange } from "../address/iova-ranges.ts";
import type { FileDescription } from "../kernel/file-description.ts";

/** Something mapped in an I/O address space. Inclusive bytes. */
export interface SpaceMapping extends IovaRange {
  /** What devices may do. */
  readonly read: boolean;
  readonly write: boolean;
}

/** Addresses that cannot be mapped. */
export interface TakenRange extends IovaRange {
  /** "msi", "direct", "outside the aperture", "no window". */
  readonly what: string;
  /** Whose: "0000:00:1b.0 (group 12)", an IOMMU. */
  readonly of: string;
}

/** Hears what comes and goes in an address space, in the middle of the call that does it: it must not look into it. */
export interface SpaceListener {
  /** Takes the place of what was there. */
  mapped(mapping: SpaceMapping): void;
  /** Whatever of it was mapped. */
  unmapped(range: IovaRange): void;
}

/** An I/O address space as it is now, for who looks on: of a container's IOMMU, or of an iommufd. */
export interface SpaceView {
  readonly kind: "type1" | "spapr" | "ioas";
  /** "type1 container", "ioas 2". */
  readonly label: string;
  /** Who has it: "process qemu, pid 4711". */
  readonly owner: string;
  /** What can be mapped, in order. */
  readonly valid: readonly IovaRange[];
  /** Why the rest cannot, in any order. */
  readonly taken: readonly TakenRange[];
  /** The devices that reach it. */
  readonly devices: readonly string[];
  /** What is mapped from an address on, in order: at most so many. */
  from(address: bigint, most: number): SpaceMapping[];
  /** @returns ends it */
  watch(listener: SpaceListener): () => void;
  /**
   * Whether a request is about it.
   * @param id of an address space, as the request names it
   */
  isMeant(file: FileDescription, id: number | undefined): boolean;
}

/** A SpaceView with what it is of: two views of the same space have the same. */
export interface LiveSpace {
  readonly of: object;
  readonly view: SpaceView;
}

/** What of the address space a backend knows (IommuBackend.space). */
export type BackendSpace = Pick<SpaceView, "valid" | "taken" | "from" | "watch">;

/** Mappings one after the other, those that lie side by side and allow the same as one. */
export class JoinedMappings {
  readonly all: SpaceMapping[] = [];

  add({ start, last, read, write }: SpaceMapping): void {
    const before = this.all.at(-1);
    if (before && before.last + 1n === start && before.read === read && before.write === write)
      this.all[this.all.length - 1] = { ...before, last };
    else this.all.push({ start, last, read, write });
  }
}
