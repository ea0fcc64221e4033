import { NoTarget } from "../../../src/iommu/dma-target.ts";
import { addressIn } from "../../../src/iommu/dma-walk.ts";
import type { MappedPiece, Mappings } from "../../../src/iommu/domain.ts";
import type { Requester, RequesterIdentity } from "../../../src/iommu/requester.ts";
import type { SmmuDomain } from "../../../src/iommu/smmu-v3/domain.ts";
import { SmmuIommus } from "../../../src/iommu/smmu-v3/iommus.ts";
import type { NestedPlace } from "../../../src/iommu/smmu-v3/nested-place.ts";
import type { SmmuFeatures } from "../../../src/iommu/smmu-v3/registers.ts";
import { parseStreamEntry } from "../../../src/iommu/smmu-v3/stream-entry.ts";
import type { MappedWindow, VirtualIommuGround } from "../../../src/iommu/virtual-iommu.ts";

const PAGE = 4096n;

/** A guest's memory, page by page, and which of it a program has mapped. */
export class GuestMemory implements Mappings {
  readonly pages = new Map<bigint, DataView>();
  readonly allowed = new Map<bigint, { read: boolean; write: boolean }>();

  map(address: bigint, read = true, write = true): void {
    this.pages.set(address / PAGE, this.pages.get(address / PAGE) ?? new DataView(new ArrayBuffer(4096)));
    this.allowed.set(address / PAGE, { read, write });
  }

  find(page: number): MappedPiece | undefined {
    const allowed = this.allowed.get(BigInt(page));
    return allowed && { shift: 12, ...allowed };
  }

  word(address: bigint): bigint {
    return this.pages.get(address / PAGE)?.getBigUint64(Number(address % PAGE), true) ?? 0n;
  }

  set(address: bigint, value: bigint): void {
    if (!this.allowed.has(address / PAGE)) this.map(address);
    this.pages.get(address / PAGE)!.setBigUint64(Number(address % PAGE), value, true);
  }

  read(first: number, within: number, into: Uint8Array): boolean {
    return this.#each(addressIn(first, within), into.length, (page, from, done, count) =>
      into.set(new Uint8Array(page.buffer, from, count), done),
    );
  }

  write(first: number, within: number, from: Uint8Array): boolean {
    return this.#each(addressIn(first, within), from.length, (page, at, done, count) =>
      new Uint8Array(page.buffer, at, count).set(from.subarray(done, done + count)),
    );
  }

  #each(
    address: bigint,
    bytes: number,
    each: (page: DataView, at: number, done: number, count: number) => void,
  ): boolean {
    for (let done = 0; done < bytes; ) {
      const at = address + BigInt(done);
      const page = this.pages.get(at / PAGE);
      if (!page) return false;
      const count = Math.min(bytes - done, 4096 - Number(at % PAGE));
      each(page, Number(at % PAGE), done, count);
      done += count;
    }
    return true;
  }
}

export const DEVICE: RequesterIdentity = {
  name: "0000:01:00.0",
  functionName: "0000:01:00.0",
  segment: 0,
  source: 0x100,
  isMediated: false,
  pasid: true,
  pasidPrivileged: true,
  ats: false,
  pri: false,
};
/** The guest's number for it. */
export const STREAM = 0x55n;

/** A virtual SMMU's surroundings: one device, and the events that a guest would read. */
export class Ground implements VirtualIommuGround {
  readonly events: bigint[][] = [];
  readonly warnings: string[] = [];
  readonly littleEndian = true;
  readonly pageSize = 4096;
  isListening = true;
  parentDomain!: SmmuDomain;

  numberOf(device: RequesterIdentity): bigint | undefined {
    return device === DEVICE ? STREAM : undefined;
  }

  deviceAt(number: bigint): RequesterIdentity | undefined {
    return number === STREAM ? DEVICE : undefined;
  }

  report(_type: number, event: Uint8Array): void {
    const view = new DataView(event.buffer, event.byteOffset);
    this.events.push([0, 8, 16, 24].map((at) => view.getBigUint64(at, true)));
  }

  hears(): boolean {
    return this.isListening;
  }

  warn(message: string): void {
    this.warnings.push(message);
  }

  shareMemory(): MappedWindow {
    throw new Error("an SMMU shares no memory");
  }
}

/** A device behind a virtual SMMU, with its guest's memory. */
export class SmmuLab {
  readonly memory = new GuestMemory();
  readonly ground = new Ground();
  readonly iommus: SmmuIommus;
  readonly parent: SmmuDomain;
  readonly requester: Requester;
  place!: NestedPlace;

  constructor(features: SmmuFeatures) {
    this.iommus = new SmmuIommus(features);
    this.parent = this.iommus.paging(this.memory, { last: 2n ** BigInt(features.outputBits) - 1n, isSecond: true });
    this.ground.parentDomain = this.parent;
    this.requester = this.iommus.connect(DEVICE, { label: "the test" }, new NoTarget("nothing"));
  }

  /** Attaches the device to a stream table entry. */
  install(first: bigint, second = 0n): void {
    this.place?.leave();
    this.place = this.iommus.install(this.requester, this.parent, parseStreamEntry([first, second]), this.ground);
  }

  /** Reads a word, or writes one; returns the reason where it does not arrive. */
  read(address: bigint, how: { pasid?: number; privileged?: boolean } = {}): bigint | string {
    const bytes = new Uint8Array(8);
    const fault = this.#reach(how).read(address, bytes);
    return fault ? fault.reason : new DataView(bytes.buffer).getBigUint64(0, true);
  }

  write(address: bigint, value: bigint, how: { pasid?: number; privileged?: boolean } = {}): string | undefined {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    return this.#reach(how).write(address, bytes)?.reason;
  }

  #reach({ pasid = 0, privileged = false }: { pasid?: number; privileged?: boolean }) {
    return this.place.reach({ pasid, privileged, ats: false });
  }
}
