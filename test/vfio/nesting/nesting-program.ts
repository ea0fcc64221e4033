import { Host } from "../../../src/host/host.ts";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { IommuCacheInvalidateInfoV59, IommuGpasidBindDataV59 } from "../../../src/uapi/iommu-v59.ts";
import { IommuCacheInvalidateInfo, IommuGpasidBindData } from "../../../src/uapi/iommu-v510.ts";
import * as v1 from "../../../src/uapi/vsva-v1.ts";
import * as v7 from "../../../src/uapi/vsva-v7.ts";
import type { Container } from "../../../src/vfio/container.ts";
import { Program, type Result } from "../program.ts";

export const EDU = "0000:03:00.0";
export const OTHER_EDU = "0000:04:00.0";
export const BACKED = "11111111-0000-0000-0000-000000000001";
export const BACKED_TOO = "11111111-0000-0000-0000-000000000002";
export const PLAIN = "22222222-0000-0000-0000-000000000001";

/** Groups: 3 and 4 an edu each; 11 and 12 mediated devices of 0000:05:00.0 that are IOMMU-backed; 20 one that is not; 6 three devices. */
export function nestingHost(api: string, kernel = "6.12", onWarning?: (message: string) => void): Host {
  const text = `
name: nesting
kernel: "${kernel}"
api: ${api}
iommu: { model: intel-vtd-sm, address_bits: 48 }
groups:
  - { id: 3, devices: [{ bdf: ${EDU}, id: "1234:11e8" }] }
  - { id: 4, devices: [{ bdf: ${OTHER_EDU}, id: "1234:11e8" }] }
  - { id: 5, devices: [{ bdf: 0000:05:00.0, id: "8086:1234", driver: idxd }] }
  - { id: 6, devices: [{ bdf: 0000:06:00.0, id: "1234:11e8" }, { bdf: 0000:06:00.1, id: "1234:11e8" }, { bdf: 0000:06:00.2, id: "1234:11e8" }] }
  - { id: 11, devices: [{ uuid: ${BACKED}, parent: 0000:05:00.0, type: idxd-1, iommu_backed: true }] }
  - { id: 12, devices: [{ uuid: ${BACKED_TOO}, parent: 0000:05:00.0, type: idxd-1, iommu_backed: true }] }
  - { id: 20, devices: [{ uuid: ${PLAIN}, parent: 0000:05:00.0, type: idxd-2 }] }
`;
  return new Host(parseHost(text, "nesting.yaml"), onWarning ? { onWarning } : {});
}

export const PTE = { present: 1n, write: 2n, user: 4n } as const;
const RWU = PTE.present | PTE.write | PTE.user;

/** A program that speaks the proposals. */
export class NestingProgram extends Program {
  /** Adds a group to a container; returns its descriptor. */
  add(container: Result, group: number): Result {
    const fd = this.open(`/dev/vfio/${group}`);
    const result = this.setContainer(fd, container);
    return typeof result === "string" ? result : fd;
  }

  allocV1(container: Result, min = 1, max = 0xfffff): Result {
    const layout = v1.VfioIommuType1PasidRequestV1;
    const bytes = layout.encode({ argsz: layout.size, flags: 1, min, max });
    const result = this.ioctlBytes(container, v1.VFIO_IOMMU_PASID_REQUEST, bytes);
    return result === 0 ? layout.decode(bytes).result : result;
  }

  freeV1(container: Result, pasid: Result): Result {
    const layout = v1.VfioIommuType1PasidRequestV1;
    const bytes = layout.encode({ argsz: layout.size, flags: 2, free_pasid: Number(pasid) });
    return this.ioctlBytes(container, v1.VFIO_IOMMU_PASID_REQUEST, bytes);
  }

  pasidV7(container: Result, flags: number, min: number, max: number): Result {
    const layout = v7.VfioIommuType1PasidRequest;
    return this.ioctlBytes(
      container,
      v7.VFIO_IOMMU_PASID_REQUEST,
      layout.encode({ argsz: layout.size, flags, range: { min, max } }),
    );
  }

  /** struct iommu_gpasid_bind_data of the host's release, behind argsz and flags of a request. */
  bindBytes(flags: number, pasid: Result, root: bigint, change: Record<string, unknown> = {}): Uint8Array {
    const facts = { version: 1, format: 1, addr_width: 48, gpgd: root, hpasid: BigInt(pasid), ...change };
    const inner = this.host.description.kernel.startsWith("5.9")
      ? IommuGpasidBindDataV59.encode(facts)
      : IommuGpasidBindData.encode({ argsz: IommuGpasidBindData.size, ...facts });
    return joined(flags, inner);
  }

  bindV1(container: Result, pasid: Result, root: bigint, change: Record<string, unknown> = {}): Result {
    return this.ioctlBytes(container, v1.VFIO_IOMMU_BIND, this.bindBytes(1, pasid, root, change));
  }

  unbindV1(container: Result, pasid: Result): Result {
    return this.ioctlBytes(container, v1.VFIO_IOMMU_BIND, this.bindBytes(2, pasid, 0n));
  }

  /** @param granularity with the member of the union as bytes */
  cacheBytes(cache: number, granularity: number, member: Uint8Array = new Uint8Array(0)): Uint8Array {
    const facts = { version: 1, cache, granularity };
    const isOld = this.host.description.kernel.startsWith("5.9");
    const inner = isOld
      ? IommuCacheInvalidateInfoV59.encode(facts)
      : IommuCacheInvalidateInfo.encode({ argsz: IommuCacheInvalidateInfo.size, ...facts });
    inner.set(member, isOld ? 8 : 16);
    return joined(0, inner);
  }

  invalidateV1(container: Result, cache: number, granularity: number, member?: Uint8Array): Result {
    return this.ioctlBytes(container, v1.VFIO_IOMMU_CACHE_INVALIDATE, this.cacheBytes(cache, granularity, member));
  }

  peek64(address: number): bigint {
    const bytes = new Uint8Array(8);
    this.task.memory.copyIn(address, bytes, 8);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  poke64(address: number, value: bigint): void {
    this.task.memory.copyOut(address, new Uint8Array(new BigUint64Array([value]).buffer), 8);
  }

  /**
   * A page table in guest memory that maps one page: the guest's memory is 16 pages at `gpa`, mapped for DMA; the tables are its pages 0-3, the
   * rest is data.
   */
  guest(container: Result, gpa = 0x10_0000n): Guest {
    const memory = this.memory(16 * 4096);
    const result = this.map(container, gpa, memory, 0x1_0000n);
    if (result !== 0) throw new Error(`no memory: ${result} ${this.reason}`);
    const guest = new Guest(this, memory, gpa);
    guest.point(0n, 4);
    return guest;
  }
}

/** A guest's memory with a page table in it that maps the first 2 MiB of a PASID. */
export class Guest {
  readonly program: NestingProgram;
  readonly memory: number;
  readonly gpa: bigint;

  constructor(program: NestingProgram, memory: number, gpa: bigint) {
    this.program = program;
    this.memory = memory;
    this.gpa = gpa;
    for (let level = 0; level < 3; level++) program.poke64(memory + level * 4096, this.page(level + 1) | RWU);
    for (let page = 4; page < 16; page++) program.poke64(memory + page * 4096, BigInt(page));
  }

  get root(): bigint {
    return this.gpa;
  }

  page(index: number): bigint {
    return this.gpa + BigInt(index) * 4096n;
  }

  /** Lets a virtual page lead to a page of the guest's memory; undefined for none. */
  point(address: bigint, index: number | undefined, flags = RWU): void {
    const entry = index === undefined ? 0n : this.page(index) | flags;
    this.program.poke64(this.memory + 3 * 4096 + Number(address >> 12n) * 8, entry);
  }
}

/** argsz and flags before a structure. */
export function joined(flags: number, inner: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + inner.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint32(4, flags, true);
  bytes.set(inner, 8);
  return bytes;
}

/** What a device in a container reads with a PASID (undefined: its own): the word, or why not. */
export function dmaRead(
  program: Program,
  container: Result,
  device: string,
  pasid: Result | undefined,
  address: bigint,
): bigint | string {
  const { groups } = program.task.files.get(Number(container)) as Container;
  const port = groups.find(({ iommuGroup }) => iommuGroup.deviceNames.includes(device))?.port(device);
  if (!port) return "not in the container";
  const target = pasid === undefined ? port : port.withPasid({ pasid: Number(pasid), privileged: false, ats: false });
  const bytes = new Uint8Array(8);
  const fault = target.read(address, bytes);
  return fault ? fault.reason : new DataView(bytes.buffer).getBigUint64(0, true);
}
