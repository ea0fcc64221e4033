import { PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import { wordFromBigInt } from "../../src/kernel/word.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import * as hwpt from "../../src/uapi/iommufd-hwpt.ts";
import * as uapi from "../../src/uapi/iommufd-test.ts";
import * as viommu from "../../src/uapi/iommufd-viommu.ts";
import type { Layout } from "../../src/uapi/layout.ts";
import type { Result } from "../vfio/program.ts";
import { IommufdProgram } from "./iommufd-program.ts";

export const PAGE = 4096;
export const APERTURE = BigInt(uapi.MOCK_APERTURE_START);
export const DATA = {
  data_type: uapi.IOMMU_HWPT_DATA_SELFTEST,
  bytes: uapi.IommuHwptSelftest.encode({ iotlb: uapi.IOMMU_TEST_IOTLB_DEFAULT }),
};

type Command = Parameters<typeof uapi.IommuTestCmd.encode>[0];
type Answer = ReturnType<typeof uapi.IommuTestCmd.decode>;
// biome-ignore lint/suspicious/noExplicitAny: a layout of any fields
type AnyLayout = Layout<any>;

/** A program on the host `mock`: with an iommufd, an address space and what it asks of IOMMU_TEST_CMD. */
export class MockLab extends IommufdProgram {
  readonly iommu: Result;
  readonly space: number;

  constructor() {
    super(readyMadeHost("mock")!);
    this.iommu = this.iommufd();
    this.space = Number(this.ioas(this.iommu));
  }

  /** The answer, or the errno. A request that returns more than 0 has that in `value`. */
  test(op: number, id: Result, rest: Command = {}): (Answer & { value: number }) | string {
    const bytes = uapi.IommuTestCmd.encode({ size: uapi.IommuTestCmd.size, op, id: Number(id), ...rest });
    const result = this.ioctlBytes(this.iommu, uapi.IOMMU_TEST_CMD, bytes);
    return typeof result === "string" ? result : { ...uapi.IommuTestCmd.decode(bytes), value: result };
  }

  /** 0, or the errno. */
  check(op: number, id: Result, rest: Command = {}): Result {
    const answer = this.test(op, id, rest);
    return typeof answer === "string" ? answer : 0;
  }

  /** A mock device's ids; throws when it cannot be made. */
  device(
    target: Result = this.space,
    dev_flags = 0,
  ): { readonly stdev: number; readonly hwpt: number; readonly idev: number } {
    const answer = this.tryDevice(target, dev_flags);
    if (typeof answer === "string") throw new Error(`no mock device: ${answer} ${this.reason}`);
    return answer;
  }

  tryDevice(target: Result, dev_flags = 0) {
    const ids = { out_stdev_id: 0, out_hwpt_id: 0, out_idev_id: 0, dev_flags };
    const answer = this.test(uapi.IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, target, { mock_domain_flags: ids });
    if (typeof answer === "string") return answer;
    const { out_stdev_id: stdev, out_hwpt_id: hwptId, out_idev_id: idev } = answer.mock_domain_flags;
    return { stdev, hwpt: hwptId, idev };
  }

  replace(stdev: Result, pt_id: Result): Result {
    return this.check(uapi.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, stdev, { mock_domain_replace: { pt_id: Number(pt_id) } });
  }

  /** A structure, sent with its size: one field of the answer, or the errno. */
  request(number: number, layout: AnyLayout, fields: Record<string, unknown>, out: string): Result {
    const bytes = layout.encode({ size: layout.size, ...fields });
    const result = this.ioctlBytes(this.iommu, number, bytes);
    return typeof result === "string" ? result : (layout.decode(bytes)[out] as number);
  }

  /** What lies in memory, for a driver. */
  data({ data_type, bytes }: { readonly data_type: number; readonly bytes: Uint8Array }) {
    const address = this.memory(PAGE);
    this.task.memory.copyOut(address, bytes, bytes.length);
    return { data_type, data_len: bytes.length, data_uptr: BigInt(address) };
  }

  makeHwpt(dev_id: Result, pt_id: Result, flags = 0, data: object = {}, fault_id: Result = 0): Result {
    const fields = { dev_id: Number(dev_id), pt_id: Number(pt_id), flags, fault_id: Number(fault_id), ...data };
    return this.request(hwpt.IOMMU_HWPT_ALLOC, hwpt.IommuHwptAlloc, fields, "out_hwpt_id");
  }

  nested(dev_id: Result, pt_id: Result, flags = 0, fault: Result = 0): Result {
    return this.makeHwpt(dev_id, pt_id, flags, this.data(DATA), fault);
  }

  viommu(dev_id: Result, hwpt_id: Result, fields: object = {}): Result {
    const type = uapi.IOMMU_VIOMMU_TYPE_SELFTEST;
    const all = { type, dev_id: Number(dev_id), hwpt_id: Number(hwpt_id), ...fields };
    return this.request(viommu.IOMMU_VIOMMU_ALLOC, viommu.IommuViommuAlloc, all, "out_viommu_id");
  }

  vdevice(viommu_id: Result, dev_id: Result, virt_id: bigint): Result {
    const fields = { viommu_id: Number(viommu_id), dev_id: Number(dev_id), virt_id };
    return this.request(viommu.IOMMU_VDEVICE_ALLOC, viommu.IommuVdeviceAlloc, fields, "out_vdevice_id");
  }

  /** The ids of an event queue: the object's, and the descriptor. */
  eventQueue(viommu_id: Result, veventq_depth: number, type = uapi.IOMMU_VEVENTQ_TYPE_SELFTEST) {
    const { IommuVeventqAlloc: layout } = viommu;
    const bytes = layout.encode({ size: layout.size, viommu_id: Number(viommu_id), veventq_depth, type });
    const result = this.ioctlBytes(this.iommu, viommu.IOMMU_VEVENTQ_ALLOC, bytes);
    if (typeof result === "string") return result;
    const { out_veventq_id: id, out_veventq_fd: fd } = layout.decode(bytes);
    return { id, fd };
  }

  hwQueue(viommu_id: Result, index: number, nesting_parent_iova: bigint, length: bigint): Result {
    const type = uapi.IOMMU_HW_QUEUE_TYPE_SELFTEST;
    const fields = { viommu_id: Number(viommu_id), type, index, nesting_parent_iova, length };
    return this.request(viommu.IOMMU_HW_QUEUE_ALLOC, viommu.IommuHwQueueAlloc, fields, "out_hw_queue_id");
  }

  /** How many of a list of invalidations were done, with the errno if there is one. */
  invalidate(
    hwpt_id: Result,
    data_type: number,
    entries: readonly Uint8Array[],
  ): { readonly done: number; readonly result: Result } {
    const address = this.memory(PAGE);
    const all = Buffer.concat(entries);
    this.task.memory.copyOut(address, all, all.length);
    const bytes = hwpt.IommuHwptInvalidate.encode({
      size: hwpt.IommuHwptInvalidate.size,
      hwpt_id: Number(hwpt_id),
      data_uptr: BigInt(address),
      data_type,
      entry_len: entries[0]?.length ?? 0,
      entry_num: entries.length,
    });
    const result = this.ioctlBytes(this.iommu, hwpt.IOMMU_HWPT_INVALIDATE, bytes);
    return { done: hwpt.IommuHwptInvalidate.decode(bytes).entry_num, result };
  }

  /** All that can be read from a descriptor, or the errno. */
  readAll(fd: number, count = PAGE): Buffer | string {
    const address = this.memory(PAGE);
    const result = this.attempt(() => this.task.files.get(fd)!.read(this.task, address, count, 0));
    if (typeof result === "string") return result;
    const bytes = Buffer.alloc(result);
    this.task.memory.copyIn(address, bytes, result);
    return bytes;
  }

  refs(address: number, pages: number, refs: number): Result {
    const check_refs = { length: BigInt(pages * PAGE), uptr: BigInt(address), refs };
    return this.check(uapi.IOMMU_TEST_OP_MD_CHECK_REFS, 0, { check_refs });
  }

  leadsTo(hwptId: Result, iova: bigint, address: number, length: number): Result {
    const check_map = { iova, length: BigInt(length), uptr: BigInt(address) };
    return this.check(uapi.IOMMU_TEST_OP_MD_CHECK_MAP, hwptId, { check_map });
  }

  /** The descriptor of an access. */
  access(flags = uapi.MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES, space: Result = this.space): number {
    const answer = this.test(uapi.IOMMU_TEST_OP_CREATE_ACCESS, space, { create_access: { out_access_fd: 0, flags } });
    if (typeof answer === "string") throw new Error(`no access: ${answer} ${this.reason}`);
    return answer.create_access.out_access_fd;
  }

  /** The number of what is held, or the errno. */
  pin(access: number, iova: bigint, length: number, uptr: number, flags = 0): Result {
    const access_pages = { flags, out_access_pages_id: 0, iova, length: BigInt(length), uptr: BigInt(uptr) };
    const answer = this.test(uapi.IOMMU_TEST_OP_ACCESS_PAGES, access, { access_pages });
    return typeof answer === "string" ? answer : answer.access_pages.out_access_pages_id;
  }

  /** Bytes moved by an access: `bytes` to memory, or as many from it. */
  move(access: number, iova: bigint, bytes: Uint8Array, write: boolean): Result {
    const address = this.memory(PAGE);
    this.task.memory.copyOut(address, bytes, bytes.length);
    const access_rw = { iova, length: BigInt(bytes.length), uptr: BigInt(address), flags: write ? 1 : 0 };
    const result = this.check(uapi.IOMMU_TEST_OP_ACCESS_RW, access, { access_rw });
    this.task.memory.copyIn(wordFromBigInt(BigInt(address)), bytes, bytes.length);
    return result;
  }

  shared(pages: number): number {
    const object = this.task.memory.memfd(pages * PAGE);
    return this.task.memory.mmap({ length: pages * PAGE, protection: PROT_READ | PROT_WRITE, object, shared: true });
  }
}
