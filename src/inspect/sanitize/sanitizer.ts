import type { DmaFault } from "../../iommu/dma-target.ts";
import { hex, hexRange } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import { IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } from "../../uapi/iommufd.ts";
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
} from "../../uapi/vfio-type1.ts";
import type { CallResult, ModelCall, Pin, Watcher } from "../watch/watcher.ts";
import { detail, type Fields, type IoctlCall, readFields } from "./call-text.ts";
import { Findings, type TellFinding } from "./findings.ts";
import { HeldMemory } from "./held-memory.ts";
import { type CallText, IovaSpace, type Mapping, rangeText } from "./mappings.ts";

const LAST = 2n ** 64n - 1n;

interface DeviceState {
  /** What started its last DMA; undefined once the program has looked at the device or taken an interrupt. */
  unseen: CallText | undefined;
  group: FileDescription | undefined;
}

/** The call that is carried out, and what is seen of it meanwhile. The last one, without `call`, between calls. */
interface InHand {
  readonly call: ModelCall | undefined;
  name: string;
  fields: Fields;
  readonly made: Pin[];
  container: FileDescription | undefined;
  registerWritten: string;
}

/**
 * Finds misuse of DMA mappings while a program runs. What it can and cannot notice, and when: docs/sanitizer.md.
 * Without `say` it only counts mappings that are left behind.
 */
export class Sanitizer implements Watcher {
  /** Mappings that the program left. */
  leakedMappings = 0;
  /** Whether anybody hears of more than counts. */
  readonly #isHeard: boolean;
  readonly #found: Findings;
  readonly #held = new HeldMemory();
  readonly #spaces = new Map<FileDescription, Map<bigint, IovaSpace>>();
  readonly #devices = new Map<string, DeviceState>();
  readonly #containers = new Map<FileDescription, FileDescription>();
  #calls = 0;
  #now: InHand = { call: undefined, name: "", fields: {}, made: [], container: undefined, registerWritten: "" };
  /** Calls in the middle of which another is made: a request that looks for a file may notice that one closed. */
  readonly #outer: InHand[] = [];

  /** See Findings. */
  constructor(say: ((line: string) => void) | undefined, tell: TellFinding | undefined = say) {
    this.#isHeard = say !== undefined;
    this.#found = new Findings(say, tell);
  }

  get findings(): number {
    return this.#found.count;
  }

  readonly model = {
    dmaDone: (device: string, write: boolean, iova: bigint, length: number, fault: DmaFault | undefined) => {
      const state = this.#device(`device ${device}`);
      // what a program sees of a device whose registers it has mapped, nobody else sees
      state.unseen = this.#now.call?.op === "poll" ? undefined : this.#cause();
      if (!fault || fault.byPasidTable || fault.reason.startsWith("injected by --fault")) return;
      this.#judge(device, write, iova, length, fault);
    },
    registerWritten: (device: string, region: number, offset: number) => {
      this.#now.registerWritten = `a write to the mapped register ${hex(offset)} in BAR ${region} of ${device}`;
    },
  };

  before(call: ModelCall): void {
    if (this.#now.call) this.#outer.push(this.#now);
    this.#now = { ...this.#now, call, made: [], container: undefined, registerWritten: "" };
    if (call.op === "poll") return;
    this.#calls++;
    this.#now.name = call.op === "ioctl" ? call.file!.dialect.nameOf(call.request) : call.op;
    this.#now.fields = call.op === "ioctl" ? readFields(call) : {};
    if (call.task && this.#isHeard) this.#lookForMemory(call);
    if (call.op === "close" && call.file!.kind === "device") this.#refuseRunning(call.file!, "closed");
  }

  after(call: ModelCall, result: CallResult): void {
    if (call.op === "close") this.#closed(call.file!);
    else if (call.op === "pread" && call.file!.kind === "device") this.#device(call.file!.label).unseen = undefined;
    else if (call.op === "ioctl" && !result.error) this.#done(call, result);
    this.#now = this.#outer.pop() ?? { ...this.#now, call: undefined };
  }

  looked(_fd: number, file: FileDescription | undefined): void {
    if (file?.kind === "container" || file?.kind === "iommufd") this.#now.container = file;
  }

  pinned(pin: Pin): void {
    this.#now.made.push(pin);
    this.#held.hold(pin);
  }

  unpinned(pin: Pin): void {
    const known = this.#held.letGo(pin);
    if (!known?.mapping || this.#now.name === "VFIO_IOMMU_UNMAP_DMA" || !isTeardown(this.#now.call, this.#now.name))
      return;
    // the container has let go of it because the program let go of the container
    if (known.space?.live.get(known.mapping.first) !== known.mapping || known.mapping.pins.size > 0) return;
    this.#leave(known.space, known.mapping);
  }

  reached(pin: Pin, _address: number, _bytes: Uint8Array, write: boolean, failed: boolean): void {
    if (failed && this.#now.call?.task?.memory === pin.space)
      this.#memoryGone(pin, `the device's ${write ? "write" : "read"}`);
  }

  signalled(): void {
    for (const state of this.#devices.values()) state.unseen = undefined;
  }

  /** The program is over: says what is left, and how it went. */
  end(): void {
    this.#now = { ...this.#now, name: "the end of the program", call: undefined };
    for (const spaces of this.#spaces.values()) {
      for (const space of spaces.values()) for (const mapping of [...space.live.values()]) this.#leave(space, mapping);
    }
    this.#found.summarize(this.#calls);
  }

  #done(call: IoctlCall, { installed }: CallResult): void {
    const file = call.file!;
    const fields = this.#now.fields;
    switch (this.#now.name) {
      case "VFIO_GROUP_SET_CONTAINER":
        if (this.#now.container) this.#containers.set(file, this.#now.container);
        return;
      case "VFIO_GROUP_GET_DEVICE_FD":
        if (installed) this.#device(installed.label).group = file;
        return;
      case "VFIO_DEVICE_RESET":
      case "VFIO_DEVICE_PCI_HOT_RESET":
        this.#refuseRunning(file, "reset");
        return;
      case "VFIO_IOMMU_MAP_DMA": {
        const flags = Number(fields.flags);
        if (flags & VFIO_DMA_MAP_FLAG_VADDR) return;
        const read = (flags & VFIO_DMA_MAP_FLAG_READ) !== 0;
        const write = (flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0;
        this.#mapped(this.#space(file, 0n), fields.iova!, fields.size!, { read, write });
        return;
      }
      case "VFIO_IOMMU_UNMAP_DMA": {
        const flags = Number(fields.flags);
        const { size } = readFields(call);
        if (flags & VFIO_DMA_UNMAP_FLAG_VADDR) return;
        if (size === 0n) {
          this.#tookNothing(this.#space(file, 0n), fields.iova!);
          return;
        }
        const all = (flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
        this.#unmapped(this.#space(file, 0n), all ? 0n : fields.iova!, all ? LAST : fields.iova! + fields.size! - 1n);
        return;
      }
      case "IOMMU_IOAS_MAP":
      case "IOMMU_IOAS_MAP_FILE": {
        const flags = Number(fields.flags);
        const read = (flags & IOMMU_IOAS_MAP_READABLE) !== 0;
        const write = (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0;
        const { iova } = readFields(call);
        this.#mapped(this.#space(file, fields.ioas_id!), iova ?? fields.iova!, fields.length!, { read, write });
        return;
      }
      case "IOMMU_IOAS_UNMAP": {
        const last = fields.iova! + fields.length! - 1n;
        this.#unmapped(this.#space(file, fields.ioas_id!), fields.iova!, last > LAST ? LAST : last);
        return;
      }
      case "IOMMU_DESTROY":
        this.#spaces.get(file)?.delete(fields.id!);
        return;
    }
  }

  #mapped(space: IovaSpace, first: bigint, length: bigint, access: { read: boolean; write: boolean }): void {
    const mapping: Mapping = {
      first,
      last: first + length - 1n,
      ...access,
      madeBy: this.#cause(),
      pins: new Set(this.#now.made),
    };
    space.add(mapping);
    for (const pin of this.#now.made) this.#held.use(pin, mapping, space);
  }

  #unmapped(space: IovaSpace, first: bigint, last: bigint): void {
    for (const mapping of space.within(first, last)) space.remove(mapping, this.#cause());
  }

  /** A v1 container answers 0 to an unmap that begins inside a mapping, and leaves it. */
  #tookNothing(space: IovaSpace, iova: bigint): void {
    const mapping = space.at(iova);
    if (!mapping || mapping.first === iova) return;
    this.#found.report(
      "unmap that took nothing",
      `${this.#cause()} returned 0 with size 0: it begins inside ${rangeText(mapping)}, which stays mapped as a whole; it was mapped by ${mapping.madeBy}`,
    );
  }

  /**
   * A file's last reference is gone. Mappings of an iommufd go with it; those of a container went when its memory was
   * let go of.
   */
  #closed(file: FileDescription): void {
    if (file.kind !== "iommufd") return;
    for (const space of this.#spaces.get(file)?.values() ?? [])
      for (const mapping of [...space.live.values()]) this.#leave(space, mapping);
  }

  #leave(space: IovaSpace, mapping: Mapping): void {
    this.leakedMappings++;
    space.remove(mapping, this.#cause());
    this.#found.report(
      "mapping left behind",
      `${rangeText(mapping)} was still mapped at ${this.#cause()}; it was mapped by ${mapping.madeBy}`,
    );
  }

  /** Whether memory that is held for DMA is there still: before a call, and all that an unmap is about. */
  #lookForMemory(call: ModelCall): void {
    for (const pin of this.#held.missing(call.task!.memory, this.#unmappedBy(call)))
      this.#memoryGone(pin, this.#cause());
  }

  /** Mappings that a call is about to remove. */
  #unmappedBy(call: ModelCall): Iterable<Mapping> {
    const { iova, size, length, ioas_id } = this.#now.fields;
    if (call.op !== "ioctl" || !/UNMAP/.test(this.#now.name) || iova === undefined) return [];
    const bytes = size ?? length ?? 0n;
    return this.#space(call.file!, ioas_id ?? 0n).within(iova, bytes === 0n ? LAST : iova + bytes - 1n);
  }

  #memoryGone(pin: Pin, noticed: string): void {
    const mapping = this.#held.noticeGone(pin);
    if (!mapping) return;
    const where = hexRange(pin.vaddr, pin.vaddr + pin.length - 1);
    this.#found.report(
      "memory unmapped while mapped for DMA",
      `the program's memory at ${where} is not there any more (munmap or mprotect), but ${rangeText(mapping)} maps it, made by ${mapping.madeBy}; noticed at ${noticed}`,
    );
  }

  #judge(device: string, write: boolean, iova: bigint, length: number, fault: DmaFault): void {
    const what = `${device} ${write ? "writes" : "reads"} ${length} bytes at iova ${hex(iova)}, started by ${this.#cause()}`;
    const spaces = this.#spacesOf(device);
    const first = <T>(find: (space: IovaSpace) => T | undefined): T | undefined => {
      for (const space of spaces) {
        const found = find(space);
        if (found !== undefined) return found;
      }
      return undefined;
    };
    const live = first((space) => space.at(fault.iova));
    if (live) {
      if (write ? live.write : live.read) return;
      const only = write ? "read-only" : "write-only";
      this.#found.report(
        "DMA against the mapping's permission",
        `${what}: ${rangeText(live)} is mapped ${only}, by ${live.madeBy}`,
      );
      return;
    }
    const past = first((space) => space.wasAt(fault.iova));
    if (past) {
      this.#found.report(
        "DMA after unmap",
        `${what}: ${rangeText(past)} was mapped by ${past.madeBy} and went with ${past.removedBy}`,
      );
      return;
    }
    this.#found.report("DMA to an IOVA never mapped", `${what}: ${fault.reason}`);
  }

  /** Nothing shows that the program waited for the DMA that it started last. */
  #refuseRunning(file: FileDescription, what: "reset" | "closed"): void {
    const state = this.#device(file.label);
    if (state.unseen === undefined) return;
    this.#found.report(
      "device reset or closed while DMA may be running",
      `${file.label} is ${what} after ${state.unseen} started DMA, and the program has neither read a register nor taken an interrupt since`,
    );
    state.unseen = undefined;
  }

  #space(file: FileDescription, id: bigint): IovaSpace {
    const spaces = this.#spaces.get(file) ?? new Map<bigint, IovaSpace>();
    this.#spaces.set(file, spaces);
    const space = spaces.get(id) ?? new IovaSpace();
    spaces.set(id, space);
    return space;
  }

  /** The address spaces that a device may be in: its container's, or all where that is not known (iommufd). */
  #spacesOf(device: string): IovaSpace[] {
    const { group } = this.#device(`device ${device}`);
    const container = group && this.#containers.get(group);
    const own = container && this.#spaces.get(container);
    return own ? [...own.values()] : [...this.#spaces.values()].flatMap((spaces) => [...spaces.values()]);
  }

  #device(label: string): DeviceState {
    const state = this.#devices.get(label) ?? { unseen: undefined, group: undefined };
    this.#devices.set(label, state);
    return state;
  }

  /** The call in hand, or what the program did without one. */
  #cause(): CallText {
    const call = this.#now.call;
    if (call === undefined) return this.#now.name;
    if (call.op === "poll") return this.#now.registerWritten || "a write to a mapped register";
    const who = call.task ? ` of ${call.task.name}[${call.task.pid}]` : "";
    return `call ${this.#calls}${who} (${this.#now.name}${detail(call, this.#now.fields)})`;
  }
}

/** Whether mappings go because their container goes. */
function isTeardown(call: ModelCall | undefined, name: string): boolean {
  return call === undefined || call.op === "close" || name === "VFIO_GROUP_UNSET_CONTAINER";
}
