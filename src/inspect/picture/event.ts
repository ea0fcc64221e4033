/**
 * What happens on a host, as the page and its server speak of it: plain values that JSON has. Addresses are hexadecimal
 * texts, ranges inclusive, times microseconds since the host booted or the trace began. Nothing here needs node.
 */

/** An address: "0xfee00000". */
export type Address = string;

/** [first, last] */
export type AddressRange = readonly [Address, Address];

/** A range of an address space with a name. */
export interface NamedRange {
  readonly first: Address;
  readonly last: Address;
  /** "msi", "outside the aperture", "mapping". */
  readonly what: string;
  /** Whose it is: "0000:00:1b.0 (group 12)". */
  readonly of: string;
}

/** An address space: of a container, or one of an iommufd. */
export interface SpaceFacts {
  readonly kind: "type1" | "spapr" | "ioas";
  readonly label: string;
  /** Who has it: "process qemu, pid 4711". */
  readonly owner: string;
  /** What can be mapped. */
  readonly valid: readonly AddressRange[];
  /** Why the rest cannot. */
  readonly taken: readonly NamedRange[];
  /** Devices that reach it. */
  readonly devices: readonly string[];
}

/** A device of the host. */
export interface DeviceFacts {
  readonly group: number;
  /** The driver that has it. */
  readonly driver: string | null;
  /** "8086:2668", "vfio_mdev". */
  readonly ids: string;
  /** What answers: "edu", "generic". */
  readonly model: string;
  /** Who has its group. */
  readonly user: string | null;
  /** The address space that it reaches. */
  readonly space: string | null;
}

/** What a device may do to a mapping: "r", "w", "rw", "". */
export type Rights = "" | "r" | "w" | "rw";

export interface SpaceEvent {
  readonly k: "space";
  readonly id: string;
  /** Null: it is gone. */
  readonly facts: SpaceFacts | null;
}

export interface DeviceEvent {
  readonly k: "device";
  readonly id: string;
  /** Null: it is gone. */
  readonly facts: DeviceFacts | null;
}

/** Something is mapped; it takes the place of what was there. */
export interface MapEvent {
  readonly k: "map";
  readonly s: string;
  readonly a: Address;
  readonly z: Address;
  readonly rw: Rights;
}

/** Whatever of a range was mapped goes. */
export interface UnmapEvent {
  readonly k: "unmap";
  readonly s: string;
  readonly a: Address;
  readonly z: Address;
}

/** A call of a program. */
export interface CallEvent {
  readonly k: "call";
  /** Number of it, from 1. */
  readonly n: number;
  readonly t: number;
  /** Microseconds in the model. */
  readonly us: number;
  readonly program: string;
  readonly pid: number;
  readonly tid: number;
  /** "VFIO_IOMMU_MAP_DMA", "open". */
  readonly name: string;
  /** What it was made with, as strace writes it. */
  readonly text: string;
  /** What it was made on: "type1 container", "device 0000:00:1b.0". */
  readonly on: string;
  readonly ret: number;
  readonly errno?: string;
  readonly why?: string;
  /** The address space that it is about. */
  readonly s?: string;
  /** The range that it asked for, of a request that has one. */
  readonly range?: AddressRange;
  /** Of a failed one: what is in the way there. */
  readonly hit?: readonly NamedRange[];
}

/** DMA of a device: one access, or several side by side. */
export interface DmaEvent {
  readonly k: "dma";
  readonly t: number;
  readonly d: string;
  readonly s?: string;
  readonly write: boolean;
  readonly a: Address;
  readonly bytes: number;
  readonly count: number;
  /** Why it did not arrive. */
  readonly fault?: string;
  /** First address that was not reached. */
  readonly at?: Address;
}

export interface InterruptEvent {
  readonly k: "irq";
  readonly t: number;
  readonly d: string;
  readonly what: string;
  readonly count: number;
}

/** A line that uvfio said meanwhile. */
export interface NoteEvent {
  readonly k: "note";
  readonly t: number;
  readonly text: string;
}

/** So much happened that could not be told. */
export interface SkippedEvent {
  readonly k: "skipped";
  readonly t: number;
  readonly count: number;
}

export type PictureEvent =
  | SpaceEvent
  | DeviceEvent
  | MapEvent
  | UnmapEvent
  | CallEvent
  | DmaEvent
  | InterruptEvent
  | NoteEvent
  | SkippedEvent;

/** What a page is told first. */
export interface Hello {
  readonly k: "hello";
  /** A trace is whole when all of it was sent, and then has a slider; a live host goes on. */
  readonly mode: "live" | "trace";
  /** What the host is called, and the release that it behaves as. */
  readonly host: string;
  readonly kernel: string;
  /** What is looked at: a command line, a file, a socket. */
  readonly title: string;
}

/** What goes to a page, a batch at a time. */
export type Message =
  | Hello
  | PictureEvent
  /** What was told of address spaces is to be forgotten: it comes anew. */
  | { readonly k: "again" }
  /** All of the trace was sent. */
  | { readonly k: "whole"; readonly cut?: string }
  /** The run is over. */
  | { readonly k: "end"; readonly text: string };

export function rightsOf(read: boolean, write: boolean): Rights {
  if (read) return write ? "rw" : "r";
  return write ? "w" : "";
}
