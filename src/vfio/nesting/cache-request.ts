import type { Requester } from "../../iommu/requester.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { type Descriptor, encodeDescriptor, WHOLE_DEVICE_TLB } from "../../uapi/intel-invalidation.ts";
import {
  IOMMU_CACHE_INV_TYPE_DEV_IOTLB,
  IOMMU_CACHE_INV_TYPE_IOTLB,
  IOMMU_CACHE_INV_TYPE_PASID,
} from "../../uapi/iommu-v510.ts";
import type { NestingContainer } from "./nesting-container.ts";
import { tableNumber, tableNumbers, taggedDevices } from "./tagged.ts";

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
 * Carries a request out on the devices that have something bound. EINVAL for a range that is empty or too long; ENODEV
 * while nothing is bound and a device has no IOMMU.
 * @param only the source-id whose own TLB is meant
 */
export function invalidateCaches(container: NestingContainer, request: CacheRequest, only?: number): void {
  const pieces = request.range && splitRange(request.range);
  for (const { unit, domain, requesters } of taggedDevices(container, container.concerned())) {
    const { pasid } = request;
    const numbers = pasid === undefined ? [undefined] : tableNumbers(container, requesters, pasid);
    for (const number of numbers) {
      for (const each of domainDescriptors(domain, { ...request, pasid: number }, pieces)) unit.submit(each);
    }
    if (!(request.caches & (IOMMU_CACHE_INV_TYPE_IOTLB | IOMMU_CACHE_INV_TYPE_DEV_IOTLB))) continue;
    const done = new Set<string>();
    for (const requester of requesters) {
      const { source } = requester.identity;
      if (only !== undefined && source !== only) continue;
      for (const number of deviceNumbers(container, requester, pasid)) {
        if (done.has(`${source}.${number}`)) continue;
        done.add(`${source}.${number}`);
        for (const each of deviceDescriptors(source, number, pieces)) unit.submit(each);
      }
    }
  }
}

/**
 * Whose translations a device's own TLB is to forget; undefined for all of them. The parent of a mediated device serves
 * others too: its are named.
 */
function deviceNumbers(container: NestingContainer, requester: Requester, pasid: number | undefined) {
  if (pasid === undefined) return requester.identity.isMediated ? container.ownNumbers(requester) : [undefined];
  const number = tableNumber(container, requester, pasid);
  return number === undefined ? [] : [number];
}

/** Host descriptors in the order of the specification. */
function domainDescriptors(
  domain: number,
  { caches, pasid, range }: CacheRequest,
  pieces: readonly Piece[] | undefined,
): Descriptor[] {
  const list: Descriptor[] = [];
  if (caches & IOMMU_CACHE_INV_TYPE_PASID) {
    const which = pasid === undefined ? { granularity: 0, domain } : { granularity: 1, domain, pasid };
    list.push(encodeDescriptor("pasidCache", which));
  }
  if (!(caches & IOMMU_CACHE_INV_TYPE_IOTLB)) return list;
  if (pasid === undefined) list.push(encodeDescriptor("iotlb", { granularity: 2, domain }));
  else if (!pieces) list.push(encodeDescriptor("pasidIotlb", { granularity: 2, domain, pasid }));
  else {
    const leafHint = range!.isLeaf ? 1 : 0;
    for (const { page, order } of pieces) {
      const where = { granularity: 3, domain, pasid, addressMask: order, address: page };
      list.push(encodeDescriptor("pasidIotlb", { ...where, leafHint }));
    }
  }
  return list;
}

/** An IOTLB invalidation reaches the devices' own TLBs too, as Linux has it (svm.c). */
function deviceDescriptors(
  sourceId: number,
  pasid: number | undefined,
  pieces: readonly Piece[] | undefined,
): Descriptor[] {
  const all = { sourceId, size: 1, address: WHOLE_DEVICE_TLB };
  if (pasid === undefined) return [encodeDescriptor("pasidDeviceTlb", { ...all, global: 1 })];
  if (!pieces) return [encodeDescriptor("pasidDeviceTlb", { ...all, pasid })];
  return pieces.map(({ page, order }) => {
    // the zero bit below `order` says how many pages; see sizedRange() of the unit
    const address = order === 0 ? page : page | ((1n << BigInt(order - 1)) - 1n);
    return encodeDescriptor("pasidDeviceTlb", { sourceId, pasid, size: order === 0 ? 0 : 1, address });
  });
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
