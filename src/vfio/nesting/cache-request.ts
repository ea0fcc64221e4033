import { ALL_ADDRESSES } from "../../iommu/vtd/host-tables.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { type Descriptor, encodeDescriptor } from "../../uapi/intel-invalidation.ts";
import {
  IOMMU_CACHE_INV_TYPE_DEV_IOTLB,
  IOMMU_CACHE_INV_TYPE_IOTLB,
  IOMMU_CACHE_INV_TYPE_PASID,
} from "../../uapi/iommu-v510.ts";
import type { NestingContainer } from "./nesting-container.ts";

/** Which addresses are meant: `count` pieces of `bytes` from `start` on. */
export interface CacheRange {
  readonly start: bigint;
  readonly bytes: bigint;
  readonly count: bigint;
  /** Only last-level entries changed. */
  readonly isLeaf: boolean;
}

/** What a guest wants invalidated, whatever structure said so. */
export interface CacheRequest {
  /** IOMMU_CACHE_INV_TYPE_* bits, at least one. */
  readonly caches: number;
  /** Undefined for the whole domain. */
  readonly pasid: number | undefined;
  readonly range: CacheRange | undefined;
}

/** More aligned pieces than this are invalidated as the whole PASID. */
const MAX_PIECES = 64;

/**
 * Carries a request out on all devices of a container. EINVAL for a range that is none, ENODEV for devices without IOMMU.
 * @param only the one device whose own TLB is meant
 */
export function invalidateCaches(container: NestingContainer, request: CacheRequest, only?: number): void {
  const pieces = request.range && splitRange(request.range);
  const visited = container.devices().filter(({ device }) => only === undefined || device.source === only);
  const { domain, hardware } = container;
  const sources = [...new Set(visited.map(({ device }) => device.source))];
  // the parent of a mediated device serves others too: without a PASID, those that are bound here are meant one by one
  const isShared = visited.some(({ device }) => device.isMediated);
  const pasids = request.pasid === undefined && isShared ? container.ownPasids() : undefined;
  for (const descriptor of descriptorsOf(domain, sources, request, pieces, pasids)) hardware.unit.submit(descriptor);
}

/** Host descriptors in the order of the specification. An IOTLB invalidation reaches the devices' own TLBs too, as Linux has it (svm.c). */
function descriptorsOf(
  domain: number,
  sources: readonly number[],
  { caches, pasid, range }: CacheRequest,
  pieces: readonly Piece[] | undefined,
  pasids: readonly number[] | undefined,
): Descriptor[] {
  const list: Descriptor[] = [];
  if (caches & IOMMU_CACHE_INV_TYPE_PASID) {
    list.push(
      encodeDescriptor(
        "pasidCache",
        pasid === undefined ? { granularity: 0, domain } : { granularity: 1, domain, pasid },
      ),
    );
  }
  if (caches & IOMMU_CACHE_INV_TYPE_IOTLB) {
    if (pasid === undefined) list.push(encodeDescriptor("iotlb", { granularity: 2, domain }));
    else if (!pieces) list.push(encodeDescriptor("pasidIotlb", { granularity: 2, domain, pasid }));
    else {
      const leafHint = range!.isLeaf ? 1 : 0;
      for (const { page, order } of pieces) {
        list.push(
          encodeDescriptor("pasidIotlb", {
            granularity: 3,
            domain,
            pasid,
            addressMask: order,
            address: page,
            leafHint,
          }),
        );
      }
    }
  }
  if (caches & (IOMMU_CACHE_INV_TYPE_IOTLB | IOMMU_CACHE_INV_TYPE_DEV_IOTLB)) {
    for (const sourceId of sources) {
      if (!pieces || pasid === undefined) {
        const all = { sourceId, size: 1, address: ALL_ADDRESSES };
        const which = pasid !== undefined ? [pasid] : pasids;
        if (which) list.push(...which.map((each) => encodeDescriptor("pasidDeviceTlb", { ...all, pasid: each })));
        else list.push(encodeDescriptor("pasidDeviceTlb", { ...all, global: 1 }));
        continue;
      }
      for (const { page, order } of pieces) {
        // the zero bit below `order` says how many pages; see sizedRange() of the unit
        const address = order === 0 ? page : page | ((1n << BigInt(order - 1)) - 1n);
        list.push(encodeDescriptor("pasidDeviceTlb", { sourceId, pasid, size: order === 0 ? 0 : 1, address }));
      }
    }
  }
  return list;
}

interface Piece {
  /** Page number of 4 KiB. */
  readonly page: bigint;
  /** log2 of the pages; `page` is a multiple of them. */
  readonly order: number;
}

/** Cuts a range into pieces that are aligned to their size; undefined when there would be too many. */
function splitRange({ start, bytes, count }: CacheRange): readonly Piece[] | undefined {
  if (bytes < 4096n || (bytes & (bytes - 1n)) !== 0n) {
    fail("EINVAL", `granule_size ${hex(bytes)} is no power of two of at least 0x1000`);
  }
  if (count === 0n) fail("EINVAL", "nb_granules is 0: nothing would be invalidated");
  const end = start + bytes * count;
  if (end > 2n ** 64n)
    fail("EINVAL", `${hex(count)} granules of ${hex(bytes)} bytes from ${hex(start)} on run past 2^64`);
  const pieces: Piece[] = [];
  const last = (end + 4095n) >> 12n;
  for (let page = start >> 12n; page < last; ) {
    let order = 0;
    while (order < 40 && (page & ((2n << BigInt(order)) - 1n)) === 0n && page + (2n << BigInt(order)) <= last) order++;
    pieces.push({ page, order });
    if (pieces.length > MAX_PIECES) return undefined;
    page += 1n << BigInt(order);
  }
  return pieces;
}
