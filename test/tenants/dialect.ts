import { IommuCacheInvalidateInfo, IommuGpasidBindData } from "../../src/uapi/iommu-v510.ts";
import { viewOf } from "../../src/uapi/layout.ts";
import * as rfc from "../../src/uapi/rfc-2017.ts";
import * as v1 from "../../src/uapi/vsva-v1.ts";
import * as v7 from "../../src/uapi/vsva-v7.ts";
import { pageAddress, WINDOW } from "./area.ts";
import type { TenantProcess } from "./machine.ts";

/** How one of the proposals says what a tenant wants of a container. Results as of TenantProcess. */
export interface Dialect {
  readonly api: "vsva-v1" | "vsva-v7" | "rfc-2017";
  /** The type of a container that the proposal's requests go to. */
  readonly type: number;
  /** PASIDs are allocated host-wide; undefined where each user numbers his own. */
  readonly allocate?: (process: TenantProcess, container: number, min: number, max: number) => number;
  readonly free?: (process: TenantProcess, container: number, pasid: number) => number;
  /** The page table at the beginning of the window, for a PASID. */
  bind(process: TenantProcess, container: number, pasid: number): number;
  unbind(process: TenantProcess, container: number, pasid: number): number;
  /** All of one PASID; 0: all of the container. */
  invalidate(process: TenantProcess, container: number, pasid: number): number;
  /** rfc-2017 only: the memory of the process, and a PASID table of the guest's. */
  readonly bindProcess?: (process: TenantProcess, container: number, pasid: number) => number;
  readonly bindTable?: (process: TenantProcess, container: number, directory: number, unbind: boolean) => number;
  readonly probe?: (process: TenantProcess, container: number, answer: Uint8Array) => number;
}

function framed(flags: number, inner: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + inner.length);
  const view = viewOf(bytes);
  view.setUint32(0, bytes.length, true);
  view.setUint32(4, flags, true);
  bytes.set(inner, 8);
  return bytes;
}

/** A request's bytes are made once; the PASID is put in. */
function template(bytes: Uint8Array, pasidAt: number) {
  const view = viewOf(bytes);
  return (process: TenantProcess, container: number, request: number, pasid: number) => {
    view.setUint32(pasidAt, pasid, true);
    return process.exchange(container, request, bytes);
  };
}

const bindData = { argsz: IommuGpasidBindData.size, version: 1, format: 1, addr_width: 48, gpgd: BigInt(WINDOW) };
const bindBytes = (flags: number) => framed(flags, IommuGpasidBindData.encode(bindData));
const HPASID = 8 + IommuGpasidBindData.offsets.hpasid!;
const ALL_CACHES = 7;
const [IOTLB_AND_PASID, BY_DOMAIN, BY_PASID] = [5, 0, 1];
const cacheBytes = (flags: number, cache: number, granularity: number) => {
  const { size } = IommuCacheInvalidateInfo;
  const inner = IommuCacheInvalidateInfo.encode({ argsz: size, version: 1, cache, granularity });
  // pasid_info.flags: the PASID counts
  if (granularity === BY_PASID) viewOf(inner).setUint32(16, 1, true);
  return framed(flags, inner);
};
const CACHE_PASID = 8 + 24;

function vsvaV1(): Dialect {
  const layout = v1.VfioIommuType1PasidRequestV1;
  const bind = template(bindBytes(v1.VFIO_IOMMU_BIND_GUEST_PGTBL), HPASID);
  const unbind = template(bindBytes(v1.VFIO_IOMMU_UNBIND_GUEST_PGTBL), HPASID);
  const one = template(cacheBytes(0, ALL_CACHES, BY_PASID), CACHE_PASID);
  const all = template(cacheBytes(0, IOTLB_AND_PASID, BY_DOMAIN), CACHE_PASID);
  return {
    api: "vsva-v1",
    type: 6,
    allocate: (process, container, min, max) => {
      const bytes = layout.encode({ argsz: layout.size, flags: v1.VFIO_IOMMU_PASID_ALLOC, min, max });
      const result = process.exchange(container, v1.VFIO_IOMMU_PASID_REQUEST, bytes);
      return result === 0 ? layout.decode(bytes).result : result;
    },
    free: (process, container, pasid) => {
      const bytes = layout.encode({ argsz: layout.size, flags: v1.VFIO_IOMMU_PASID_FREE, free_pasid: pasid });
      return process.exchange(container, v1.VFIO_IOMMU_PASID_REQUEST, bytes);
    },
    bind: (process, container, pasid) => bind(process, container, v1.VFIO_IOMMU_BIND, pasid),
    unbind: (process, container, pasid) => unbind(process, container, v1.VFIO_IOMMU_BIND, pasid),
    invalidate: (process, container, pasid) =>
      (pasid === 0 ? all : one)(process, container, v1.VFIO_IOMMU_CACHE_INVALIDATE, pasid),
  };
}

function vsvaV7(): Dialect {
  const layout = v7.VfioIommuType1PasidRequest;
  const pasidRequest = (flags: number, process: TenantProcess, container: number, min: number, max: number) =>
    process.exchange(
      container,
      v7.VFIO_IOMMU_PASID_REQUEST,
      layout.encode({ argsz: layout.size, flags, range: { min, max } }),
    );
  const bind = template(bindBytes(v7.VFIO_IOMMU_NESTING_OP_BIND_PGTBL), HPASID);
  const unbind = template(bindBytes(v7.VFIO_IOMMU_NESTING_OP_UNBIND_PGTBL), HPASID);
  const flags = v7.VFIO_IOMMU_NESTING_OP_CACHE_INVLD;
  const one = template(cacheBytes(flags, ALL_CACHES, BY_PASID), CACHE_PASID);
  const all = template(cacheBytes(flags, IOTLB_AND_PASID, BY_DOMAIN), CACHE_PASID);
  const op = v7.VFIO_IOMMU_NESTING_OP;
  return {
    api: "vsva-v7",
    type: 6,
    allocate: (process, container, min, max) =>
      pasidRequest(v7.VFIO_IOMMU_FLAG_ALLOC_PASID, process, container, min, max),
    free: (process, container, pasid) => pasidRequest(v7.VFIO_IOMMU_FLAG_FREE_PASID, process, container, pasid, pasid),
    bind: (process, container, pasid) => bind(process, container, op, pasid),
    unbind: (process, container, pasid) => unbind(process, container, op, pasid),
    invalidate: (process, container, pasid) => (pasid === 0 ? all : one)(process, container, op, pasid),
  };
}

function operation(op: number, inner: Uint8Array, flags = 0): Uint8Array {
  const { size } = rfc.VfioIommuOperation;
  const bytes = new Uint8Array(size + inner.length);
  bytes.set(rfc.VfioIommuOperation.encode({ argsz: bytes.length, flags, op }));
  bytes.set(inner, size);
  return bytes;
}

function rfc2017(): Dialect {
  const head = rfc.VfioIommuOperation.size;
  const table = { model: rfc.IOMMU_MODEL_INTEL, table: BigInt(WINDOW), addr_width: 48 };
  const pageTable = (flags: number) =>
    template(
      operation(rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE, rfc.IommuPageTableBind.encode({ ...table, flags })),
      head + rfc.IommuPageTableBind.offsets.pasid!,
    );
  const [bind, unbind] = [pageTable(0), pageTable(rfc.IOMMU_BIND_FLAG_UNBIND)];
  const process_ = template(
    operation(rfc.VFIO_IOMMU_OP_BIND_PASID, rfc.IommuPasidBind.encode({})),
    head + rfc.IommuPasidBind.offsets.pasid!,
  );
  const invalidation = (scope: number) =>
    template(
      operation(rfc.VFIO_IOMMU_OP_INVALIDATE, rfc.IommuTlbInvalidate.encode({ model: rfc.IOMMU_MODEL_INTEL, scope })),
      head + rfc.IommuTlbInvalidate.offsets.pasid!,
    );
  const [all, one] = [invalidation(0), invalidation(rfc.IOMMU_INVALIDATE_PASID)];
  return {
    api: "rfc-2017",
    type: 3,
    bind: (process, container, pasid) => bind(process, container, rfc.VFIO_IOMMU_OP, pasid),
    unbind: (process, container, pasid) => unbind(process, container, rfc.VFIO_IOMMU_OP, pasid),
    invalidate: (process, container, pasid) => (pasid === 0 ? all : one)(process, container, rfc.VFIO_IOMMU_OP, pasid),
    bindProcess: (process, container, pasid) => process_(process, container, rfc.VFIO_IOMMU_OP, pasid),
    bindTable: (process, container, directory, isUnbind) => {
      const inner = rfc.IommuPasidTableBind.encode({
        model: rfc.IOMMU_MODEL_INTEL,
        flags: isUnbind ? rfc.IOMMU_BIND_FLAG_UNBIND : 0,
        table: BigInt(pageAddress(directory)),
        pasid_bits: 6,
      });
      return process.exchange(container, rfc.VFIO_IOMMU_OP, operation(rfc.VFIO_IOMMU_OP_BIND_PASID_TABLE, inner));
    },
    probe: (process, container, answer) => {
      const bytes = operation(0, new Uint8Array(answer.length), rfc.VFIO_IOMMU_OP_FLAG_PROBE);
      const result = process.exchange(container, rfc.VFIO_IOMMU_OP, bytes);
      answer.set(bytes.subarray(head));
      return result;
    },
  };
}

export const DIALECTS = { "vsva-v1": vsvaV1, "vsva-v7": vsvaV7, "rfc-2017": rfc2017 } as const;
export type Api = keyof typeof DIALECTS;
