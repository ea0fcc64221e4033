import { Host } from "../../src/host/host.ts";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import * as hwpt from "../../src/uapi/iommufd-hwpt.ts";
import * as viommu from "../../src/uapi/iommufd-viommu.ts";
import * as cdev from "../../src/uapi/vfio-cdev.ts";
import type { Result } from "../vfio/program.ts";
import { IommufdProgram } from "./iommufd-program.ts";

export const LAB: HostDescription = readyMadeHost("lab-nesting")!;

/** An edu that can do everything, one that cannot, and a DMA engine. */
export const [ABLE, PLAIN, ENGINE] = ["/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1", "/dev/vfio/devices/vfio2"];

/** Flags of IOMMU_HWPT_ALLOC. */
export const NEST_PARENT = 1;
export const PASID_FLAG = 8;
/** Bits of edu's PASID register. */
export const [ENABLE, ATS, PRIVILEGED] = [1n << 31n, 1n << 30n, 1n << 29n];

export const PRESENT = 1n;
export const WRITE = 2n;
export const USER = 4n;
export const RWU = PRESENT | WRITE | USER;
export const GPA = 0x10_0000n;
export const PAGES = 16;
const PAGE = 4096;
const CONFIG = 7 * 2 ** 40;
const BUFFER = 0x40000n;
/** The guest's virtual address of page 15. */
const BACK = 0x1f_f000n;

/** Registers of edu. */
const [SOURCE, DESTINATION, COUNT, COMMAND, PASID, RESULT] = [0x80, 0x88, 0x90, 0x98, 0xa0, 0xa8];

export interface Fault {
  readonly flags: number;
  readonly dev_id: number;
  readonly pasid: number;
  readonly grpid: number;
  readonly perm: number;
  readonly addr: bigint;
  readonly length: number;
  readonly cookie: number;
}

/**
 * A program with a guest's memory: 16 pages at GPA of an address space. Pages 0-3 are a table of four levels that maps the first 2 MiB; page 4 is
 * where its address 0 leads; pages from 4 on begin with their number.
 */
export class NestingLab extends IommufdProgram {
  readonly iommu: Result;
  readonly space: Result;
  readonly guest: number;
  /** Where requests without PASID reach page 15: through the guest's table, or by its address in the address space. */
  back = BACK;
  readonly #scratchPage: number;

  constructor(host: HostDescription = LAB, onWarning: (message: string) => void = () => {}) {
    super(host, {}, new Host(host, { onWarning }));
    this.iommu = this.iommufd();
    this.space = this.ioas(this.iommu);
    this.guest = this.memory(PAGES * PAGE);
    this.#scratchPage = this.memory(PAGE);
    this.mapIoas(this.iommu, this.space, this.guest, BigInt(PAGES * PAGE), { iova: GPA });
    for (let level = 0; level < 3; level++) this.poke(this.guest + level * PAGE, page(level + 1) | RWU);
    for (let index = 4; index < PAGES; index++) this.poke(this.guest + index * PAGE, BigInt(index));
    this.point(0n, 4);
    this.point(BACK, 15);
  }

  poke(address: number, value: bigint): void {
    this.task.memory.copyOut(address, new Uint8Array(new BigUint64Array([value]).buffer), 8);
  }

  peek(address: number): bigint {
    const bytes = new Uint8Array(8);
    this.task.memory.copyIn(address, bytes, 8);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  /** Lets a page of the guest's virtual addresses lead to a page of its memory; undefined for none. */
  point(address: bigint, index: number | undefined, flags = RWU): void {
    this.poke(this.entryAt(address), index === undefined ? 0n : page(index) | flags);
  }

  /** Where the last-level entry of an address is in the program's memory. */
  entryAt(address: bigint): number {
    return this.guest + 3 * PAGE + Number(address >> 12n) * 8;
  }

  /** A device that is bound, with bus mastering on. */
  device(node: string): { readonly fd: Result; readonly id: Result } {
    const fd = this.open(node);
    const id = this.bind(fd, this.iommu);
    this.put(fd, CONFIG + 4, 6n, 2);
    return { fd, id };
  }

  put(fd: Result, offset: number, value: bigint, width = 8): void {
    this.poke(this.#scratchPage, value);
    const file = this.task.files.get(Number(fd))!;
    const done = this.attempt(() => file.write(this.task, this.#scratchPage, width, offset));
    if (done !== width) throw new Error(`no register at ${offset.toString(16)}: ${done} ${this.reason}`);
  }

  get(fd: Result, offset: number, width = 8): bigint {
    this.poke(this.#scratchPage, 0n);
    const file = this.task.files.get(Number(fd))!;
    const done = this.attempt(() => file.read(this.task, this.#scratchPage, width, offset));
    if (done !== width) throw new Error(`no register at ${offset.toString(16)}: ${done} ${this.reason}`);
    return this.peek(this.#scratchPage);
  }

  /** Starts an edu's transfer between an address and its buffer. `pasid` is its register's value. */
  transfer(fd: Result, address: bigint, toMemory: boolean, pasid = 0n, count = 8n): void {
    if (pasid !== 0n || this.isAble(fd)) this.put(fd, PASID, pasid);
    this.put(fd, SOURCE, toMemory ? BUFFER : address);
    this.put(fd, DESTINATION, toMemory ? address : BUFFER);
    this.put(fd, COUNT, count);
    this.put(fd, COMMAND, toMemory ? 3n : 1n);
  }

  isAble(fd: Result): boolean {
    return this.get(fd, PASID) !== 2n ** 64n - 1n;
  }

  /** Whether a transfer waits, and whether the last one failed. */
  state(fd: Result): "waits" | "failed" | "done" {
    if (this.get(fd, COMMAND) & 1n) return "waits";
    return this.isAble(fd) && this.get(fd, RESULT) & 1n ? "failed" : "done";
  }

  /** What an edu reads at an address, or how that ended. It shows its buffer by writing it to page 15, which requests without PASID reach at `back`. */
  readWord(fd: Result, address: bigint, pasid = 0n): bigint | string {
    this.transfer(fd, address, false, pasid);
    const state = this.state(fd);
    return state === "done" ? this.buffer(fd) : state;
  }

  /** What an edu has in its buffer. */
  buffer(fd: Result): bigint {
    this.poke(this.guest + 15 * PAGE, 0xdeadn);
    this.transfer(fd, this.back, true);
    return this.peek(this.guest + 15 * PAGE);
  }

  nested(
    device: Result,
    parent: Result,
    options: {
      readonly flags?: number;
      readonly fault?: Result;
      readonly s1?: Partial<Record<"flags" | "pgtbl_addr", bigint>> & { readonly addr_width?: number };
      readonly length?: number;
      readonly type?: number;
    } = {},
  ): Result {
    const {
      flags = 0,
      fault,
      s1 = {},
      length = hwpt.IommuHwptVtdS1.size,
      type = hwpt.IOMMU_HWPT_DATA_VTD_S1,
    } = options;
    const data = hwpt.IommuHwptVtdS1.encode({ flags: 0n, pgtbl_addr: GPA, addr_width: 48, ...s1 });
    this.task.memory.copyOut(this.#scratchPage, data, data.length);
    const bytes = hwpt.IommuHwptAlloc.encode({
      size: hwpt.IommuHwptAlloc.size,
      flags: flags | (fault === undefined ? 0 : hwpt.IOMMU_HWPT_FAULT_ID_VALID),
      dev_id: Number(device),
      pt_id: Number(parent),
      data_type: type,
      data_len: length,
      data_uptr: BigInt(this.#scratchPage),
      fault_id: Number(fault ?? 0),
    });
    const result = this.ioctlBytes(this.iommu, hwpt.IOMMU_HWPT_ALLOC, bytes);
    return result === 0 ? hwpt.IommuHwptAlloc.decode(bytes).out_hwpt_id : result;
  }

  /** A page table over an address space that reports to a fault queue. */
  onDemand(device: Result, ioas: Result, fault: Result, flags: number = hwpt.IOMMU_HWPT_FAULT_ID_VALID): Result {
    const size = hwpt.IommuHwptAlloc.size;
    const request = { size, flags, dev_id: Number(device), pt_id: Number(ioas), fault_id: Number(fault) };
    const bytes = hwpt.IommuHwptAlloc.encode(request);
    const result = this.ioctlBytes(this.iommu, hwpt.IOMMU_HWPT_ALLOC, bytes);
    return result === 0 ? hwpt.IommuHwptAlloc.decode(bytes).out_hwpt_id : result;
  }

  startTracking(id: Result): Result {
    const layout = hwpt.IommuHwptSetDirtyTracking;
    const bytes = layout.encode({ size: layout.size, flags: 1, hwpt_id: Number(id) });
    return this.ioctlBytes(this.iommu, hwpt.IOMMU_HWPT_SET_DIRTY_TRACKING, bytes);
  }

  /** Which pages of the guest's memory a page table says were written. */
  dirtyPages(id: Result): number[] {
    const layout = hwpt.IommuHwptGetDirtyBitmap;
    this.poke(this.#scratchPage, 0n);
    const bytes = layout.encode({
      size: layout.size,
      hwpt_id: Number(id),
      iova: GPA,
      length: BigInt(PAGES * PAGE),
      page_size: BigInt(PAGE),
      data: BigInt(this.#scratchPage),
    });
    const result = this.ioctlBytes(this.iommu, hwpt.IOMMU_HWPT_GET_DIRTY_BITMAP, bytes);
    if (result !== 0) throw new Error(`${result} ${this.reason}`);
    const word = this.peek(this.#scratchPage);
    return Array.from({ length: PAGES }, (_, index) => index).filter((index) => (word >> BigInt(index)) & 1n);
  }

  /** How many of the entries were done, and the result. */
  invalidate(
    id: Result,
    entries: readonly { addr?: bigint; npages?: bigint; flags?: number; __reserved?: number }[],
    change: { readonly type?: number; readonly length?: number; readonly list?: bigint; readonly count?: number } = {},
  ): { readonly done: number; readonly result: Result } {
    const layout = hwpt.IommuHwptVtdS1Invalidate;
    for (const [index, entry] of entries.entries()) {
      this.task.memory.copyOut(this.#scratchPage + index * layout.size, layout.encode(entry), layout.size);
    }
    const bytes = hwpt.IommuHwptInvalidate.encode({
      size: hwpt.IommuHwptInvalidate.size,
      hwpt_id: Number(id),
      data_uptr: change.list ?? BigInt(this.#scratchPage),
      data_type: change.type ?? 0,
      entry_len: change.length ?? layout.size,
      entry_num: change.count ?? entries.length,
    });
    const result = this.ioctlBytes(this.iommu, hwpt.IOMMU_HWPT_INVALIDATE, bytes);
    return { done: hwpt.IommuHwptInvalidate.decode(bytes).entry_num, result };
  }

  faultQueue(): { readonly id: number; readonly fd: number } {
    const bytes = viommu.IommuFaultAlloc.encode({ size: viommu.IommuFaultAlloc.size });
    const result = this.ioctlBytes(this.iommu, viommu.IOMMU_FAULT_QUEUE_ALLOC, bytes);
    if (result !== 0) throw new Error(`no fault queue: ${result} ${this.reason}`);
    const { out_fault_id: id, out_fault_fd: fd } = viommu.IommuFaultAlloc.decode(bytes);
    return { id, fd };
  }

  /** The page requests that there are, `room` at most. */
  faults(fd: Result, room = 8): readonly Fault[] {
    const layout = viommu.IommuHwptPgfault;
    const file = this.task.files.get(Number(fd))!;
    const done = this.attempt(() => file.read(this.task, this.#scratchPage, room * layout.size, 0));
    if (typeof done === "string") throw new Error(`${done} ${this.reason}`);
    const bytes = new Uint8Array(done);
    this.task.memory.copyIn(this.#scratchPage, bytes, done);
    return Array.from(
      { length: done / layout.size },
      (_, i) => layout.decode(bytes.subarray(i * layout.size)) as Fault,
    );
  }

  respond(fd: Result, ...responses: readonly (readonly [cookie: number, code: number])[]): Result {
    const layout = viommu.IommuHwptPageResponse;
    for (const [index, [cookie, code]] of responses.entries()) {
      this.task.memory.copyOut(this.#scratchPage + index * layout.size, layout.encode({ cookie, code }), layout.size);
    }
    const file = this.task.files.get(Number(fd))!;
    return this.attempt(() => file.write(this.task, this.#scratchPage, responses.length * layout.size, 0));
  }

  attachPasid(device: Result, pasid: number, id: Result): Result {
    const layout = cdev.VfioDeviceAttachIommufdPt;
    const bytes = layout.encode({ argsz: layout.size, flags: cdev.VFIO_DEVICE_ATTACH_PASID, pt_id: Number(id), pasid });
    const result = this.ioctlBytes(device, cdev.VFIO_DEVICE_ATTACH_IOMMUFD_PT, bytes);
    return result === 0 ? layout.decode(bytes).pt_id : result;
  }

  detachPasid(device: Result, pasid: number): Result {
    const layout = cdev.VfioDeviceDetachIommufdPt;
    const bytes = layout.encode({ argsz: layout.size, flags: cdev.VFIO_DEVICE_DETACH_PASID, pasid });
    return this.ioctlBytes(device, cdev.VFIO_DEVICE_DETACH_IOMMUFD_PT, bytes);
  }
}

/** The guest-physical address of a page of the guest's memory. */
export function page(index: number): bigint {
  return GPA + BigInt(index * PAGE);
}
