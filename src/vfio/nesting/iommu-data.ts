import { fail, hex } from "../../kernel/errors.ts";
import type { Release } from "../../kernel/releases.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { IommuCacheInvalidateInfoV59, IommuGpasidBindDataV59 } from "../../uapi/iommu-v59.ts";
import * as uapi from "../../uapi/iommu-v510.ts";
import { type Layout, viewOf } from "../../uapi/layout.ts";
import { StructView } from "../../uapi/struct-view.ts";
import type { CacheRequest } from "./cache-request.ts";
import { copyBytes } from "./user-bytes.ts";

const { IommuCacheInvalidateInfo, IommuGpasidBindData } = uapi;

/** Where the structure of <linux/iommu.h> lies inside a request of VFIO's. */
export interface Inner {
  readonly arg: Word;
  /** Bytes from `arg` on. */
  readonly offset: number;
  /** Bytes that the request has for it: its argsz less `offset`. */
  readonly room: number;
}

/** A guest's page table, in the terms of all releases. */
export interface BindData {
  readonly root: bigint;
  readonly addressWidth: number;
  readonly pasid: number;
  /** IOMMU_SVA_VTD_GPASID_*; 0 when the caller gave none. */
  readonly flags: bigint;
}

/**
 * Reads struct iommu_gpasid_bind_data as the release has it, with the checks of
 * drivers/iommu/iommu.c:iommu_check_bind_data (5.10). EINVAL, EFAULT.
 */
export function readBindData(task: Task, inner: Inner, release: Release): BindData {
  const data = release.has("iommuUapiArgsz") ? readBindV510(task, inner) : readBindV59(task, inner);
  const { version, format, flags, padding, hpasid } = data;
  if (version !== uapi.IOMMU_GPASID_BIND_VERSION_1)
    fail("EINVAL", `version ${version} of struct iommu_gpasid_bind_data is unknown (known: 1)`);
  if (format !== uapi.IOMMU_PASID_FORMAT_INTEL_VTD)
    fail("EINVAL", `format ${format} is unknown; the IOMMU here takes 1, Intel VT-d`);
  if (flags & ~BigInt(uapi.IOMMU_SVA_GPASID_VAL))
    fail("EINVAL", `unknown flags ${hex(flags)} (known: 1, gpasid is valid)`);
  if (padding.some((byte) => byte !== 0)) fail("EINVAL", "padding must be 0: a later version may give it a meaning");
  if (hpasid === 0n || hpasid > 0xf_ffffn) fail("EINVAL", `hpasid ${hex(hpasid)} is no PASID (1-0xfffff)`);
  return { root: data.gpgd, addressWidth: data.addr_width, pasid: Number(hpasid), flags: data.vtd.flags };
}

function readBindV59(task: Task, inner: Inner) {
  return IommuGpasidBindDataV59.decode(copyWhole(task, inner, IommuGpasidBindDataV59));
}

/** A caller that is older than the vendor's part may leave it out: it is zeros then. */
function readBindV510(task: Task, inner: Inner) {
  const bytes = copyGrowing(task, inner, IommuGpasidBindData, IommuGpasidBindData.endOf("padding"));
  const data = IommuGpasidBindData.decode(bytes);
  return { ...data, vtd: data.vendor.vtd };
}

/**
 * Reads struct iommu_cache_invalidate_info as the release has it, with the checks of
 * drivers/iommu/iommu.c:iommu_check_cache_invl_data (5.10) and the header's table of what goes together. EINVAL,
 * EFAULT.
 */
export function readCacheRequest(task: Task, inner: Inner, release: Release): CacheRequest {
  const info = release.has("iommuUapiArgsz") ? readCacheV510(task, inner) : readCacheV59(task, inner);
  const { version, cache, granularity, padding, pasid_info: byPasid, addr_info: byAddress } = info;
  if (version !== uapi.IOMMU_CACHE_INVALIDATE_INFO_VERSION_1)
    fail("EINVAL", `version ${version} of struct iommu_cache_invalidate_info is unknown (known: 1)`);
  if (padding.some((byte) => byte !== 0)) fail("EINVAL", "padding must be 0: a later version may give it a meaning");
  const allowed =
    ALLOWED[granularity] ?? fail("EINVAL", `granularity ${granularity} is unknown (0 domain, 1 PASID, 2 address)`);
  if (cache === 0 || cache & ~allowed) {
    fail(
      "EINVAL",
      `cache ${hex(cache)} does not go with granularity ${granularity}: by domain are IOTLB (1) and PASID (4), by PASID all, by address IOTLB and DEV_IOTLB (2)`,
    );
  }
  switch (granularity) {
    case uapi.IOMMU_INV_GRANU_PASID: {
      refuseFlags(byPasid.flags, uapi.IOMMU_INV_PASID_FLAGS_PASID | uapi.IOMMU_INV_PASID_FLAGS_ARCHID);
      if (!(byPasid.flags & uapi.IOMMU_INV_PASID_FLAGS_PASID))
        fail("EINVAL", "granularity PASID without a PASID (flag 1); VT-d knows no archid");
      return { caches: cache, pasid: pasidOf(byPasid.pasid), range: undefined };
    }
    case uapi.IOMMU_INV_GRANU_ADDR: {
      refuseFlags(
        byAddress.flags,
        uapi.IOMMU_INV_ADDR_FLAGS_PASID | uapi.IOMMU_INV_ADDR_FLAGS_ARCHID | uapi.IOMMU_INV_ADDR_FLAGS_LEAF,
      );
      const range = {
        start: byAddress.addr,
        bytes: byAddress.granule_size,
        count: byAddress.nb_granules,
        isLeaf: (byAddress.flags & uapi.IOMMU_INV_ADDR_FLAGS_LEAF) !== 0,
      };
      return {
        caches: cache,
        pasid: byAddress.flags & uapi.IOMMU_INV_ADDR_FLAGS_PASID ? pasidOf(byAddress.pasid) : undefined,
        range,
      };
    }
    default:
      return { caches: cache, pasid: undefined, range: undefined };
  }
}

const {
  IOMMU_CACHE_INV_TYPE_IOTLB: IOTLB,
  IOMMU_CACHE_INV_TYPE_DEV_IOTLB: DEVICE,
  IOMMU_CACHE_INV_TYPE_PASID: PASID,
} = uapi;

/** Caches by granularity (iommu.h, the table at struct iommu_cache_invalidate_info). */
const ALLOWED: readonly number[] = [IOTLB | PASID, IOTLB | DEVICE | PASID, IOTLB | DEVICE];

function refuseFlags(flags: number, known: number): void {
  if (flags & ~known) fail("EINVAL", `unknown flags ${hex((flags & ~known) >>> 0)} (known: ${hex(known)})`);
}

function pasidOf(pasid: bigint): number {
  if (pasid > 0xf_ffffn) fail("EINVAL", `${hex(pasid)} is no PASID (1-0xfffff)`);
  return Number(pasid);
}

function readCacheV59(task: Task, inner: Inner) {
  const layout = IommuCacheInvalidateInfoV59;
  const bytes = copyWhole(task, inner, layout);
  const addr_info = uapi.IommuInvAddrInfo.read(new StructView(bytes, true), layout.offsets.addr_info);
  return { ...layout.decode(bytes), addr_info };
}

/** How much is needed depends on the granularity, which is known only then. */
function readCacheV510(task: Task, inner: Inner) {
  const { offsets } = IommuCacheInvalidateInfo;
  const bytes = copyGrowing(task, inner, IommuCacheInvalidateInfo, offsets.granu);
  const info = IommuCacheInvalidateInfo.decode(bytes);
  const needed =
    offsets.granu +
    (info.granularity === uapi.IOMMU_INV_GRANU_ADDR
      ? uapi.IommuInvAddrInfo.size
      : info.granularity === uapi.IOMMU_INV_GRANU_PASID
        ? uapi.IommuInvPasidInfo.size
        : 0);
  if (info.argsz < needed)
    fail("EINVAL", `argsz of struct iommu_cache_invalidate_info is ${info.argsz}, this granularity needs ${needed}`);
  const view = new StructView(bytes, true);
  return {
    ...info,
    pasid_info: uapi.IommuInvPasidInfo.read(view, offsets.granu),
    addr_info: uapi.IommuInvAddrInfo.read(view, offsets.granu),
  };
}

// biome-ignore lint/suspicious/noExplicitAny: only the size and the name matter
type AnyLayout = Layout<any>;

function copyWhole(task: Task, { arg, offset, room }: Inner, layout: AnyLayout): Uint8Array {
  if (room < layout.size)
    fail("EINVAL", `argsz leaves ${room} bytes for struct ${layout.name}, ${layout.size} are needed`);
  return copyBytes(task, arg, offset, layout.size);
}

/**
 * A structure with an argsz of its own, which must lie inside the request's: what the caller does not have is zeros.
 */
function copyGrowing(task: Task, { arg, offset, room }: Inner, layout: AnyLayout, least: number): Uint8Array {
  if (room < least)
    fail("EINVAL", `argsz leaves ${room} bytes for struct ${layout.name}, at least ${least} are needed`);
  const argsz = viewOf(copyBytes(task, arg, offset, 4)).getUint32(0, true);
  if (argsz < least) fail("EINVAL", `argsz of struct ${layout.name} is ${argsz}, at least ${least} are needed`);
  if (argsz > room)
    fail("EINVAL", `argsz of struct ${layout.name} is ${argsz}, but the request around it leaves ${room} bytes`);
  const bytes = new Uint8Array(layout.size);
  bytes.set(copyBytes(task, arg, offset, Math.min(argsz, layout.size)));
  // one size counts, whatever the caller's memory says a moment later
  viewOf(bytes).setUint32(0, argsz, true);
  return bytes;
}
