import { fail, hex, KernelError } from "../../kernel/errors.ts";
import { IOMMU_CACHE_INV_TYPE_DEV_IOTLB, IOMMU_CACHE_INV_TYPE_IOTLB } from "../../uapi/iommu-v510.ts";
import * as rfc from "../../uapi/rfc-2017.ts";
import { type CacheRange, invalidateCaches } from "./cache-request.ts";
import type { NestingContainer } from "./nesting-container.ts";
import { needModelInForce, type OpData } from "./op-data.ts";
import { ALL_CACHES, KNOWN_HINTS, MAX_DESCRIPTORS } from "./op-support.ts";
import { sanitizeDescriptor } from "./sanitize-descriptor.ts";
import { submitAll } from "./tagged.ts";

const BY_ADDRESS = IOMMU_CACHE_INV_TYPE_IOTLB | IOMMU_CACHE_INV_TYPE_DEV_IOTLB;
const SCOPES = rfc.IOMMU_INVALIDATE_PASID | rfc.IOMMU_INVALIDATE_VADDR;
const FLAGS = rfc.IOMMU_INVALIDATE_NO_PASID | rfc.IOMMU_INVALIDATE_VADDR_LEAF | rfc.IOMMU_INVALIDATE_VENDOR;

/** Operation INVALIDATE: by the generic fields, or by descriptors of the hardware. */
export function opInvalidate(container: NestingContainer, data: OpData): number {
  const request = data.head(rfc.IommuTlbInvalidate);
  needModelInForce(container, request.model);
  const { scope, flags } = request;
  if (scope & ~SCOPES) fail("EINVAL", `unknown scope bits ${hex((scope & ~SCOPES) >>> 0)} (known: PASID 1, VADDR 2)`);
  if (flags & ~FLAGS) fail("EINVAL", `unknown flags ${hex((flags & ~FLAGS) >>> 0)} (known: ${hex(FLAGS)})`);
  if (request.reserved !== 0) fail("EINVAL", "reserved must be 0");
  if (flags & rfc.IOMMU_INVALIDATE_VENDOR) byDescriptors(container, request, data);
  else byFields(container, request, data);
  return 0;
}

interface Generic {
  readonly scope: number;
  readonly flags: number;
  readonly pasid: number;
  readonly vaddr: bigint;
  readonly size: bigint;
  readonly length: number;
}

/** All descriptors are looked at before the first one is carried out. */
function byDescriptors(container: NestingContainer, request: Generic, data: OpData): void {
  const { scope, flags, pasid, vaddr, size } = request;
  if (scope || flags !== rfc.IOMMU_INVALIDATE_VENDOR || pasid || vaddr || size) {
    fail("EINVAL", "with VENDOR the vendor data say everything: scope, other flags, pasid, vaddr and size must be 0");
  }
  const layout = rfc.IntelIommuInvalidateData;
  const pieces = data.vendorList(request.length, layout.size, MAX_DESCRIPTORS).map((bytes) => layout.decode(bytes));
  const submissions = pieces.flatMap((piece, i) => {
    try {
      return sanitizeDescriptor(container, piece);
    } catch (error) {
      if (!(error instanceof KernelError) || pieces.length === 1) throw error;
      return fail(error.code, `descriptor ${i + 1} of ${pieces.length}: ${error.reason}`);
    }
  });
  submitAll(submissions);
}

function byFields(container: NestingContainer, request: Generic, data: OpData): void {
  checkCombination(request);
  const { scope, flags, pasid, vaddr, size } = request;
  const byVaddr = (scope & rfc.IOMMU_INVALIDATE_VADDR) !== 0;
  const vendor = data.vendor(request.length, [0, rfc.IntelIommuInvalidateHints.size]);
  const wanted = vendor.length > 0 ? readHints(container, vendor) : { caches: 0, source: 0 };
  const implied = byVaddr || flags & rfc.IOMMU_INVALIDATE_NO_PASID ? BY_ADDRESS : ALL_CACHES;
  const caches = wanted.caches || implied;
  if (caches & ~implied) fail("EINVAL", "the PASID cache has no addresses, and nothing without a PASID");
  const range = byVaddr ? rangeOf(vaddr, size, (flags & rfc.IOMMU_INVALIDATE_VADDR_LEAF) !== 0) : undefined;
  const which = scope & rfc.IOMMU_INVALIDATE_PASID ? pasid : undefined;
  refuseOthersPasid(container, which, caches);
  invalidateCaches(container, { caches, pasid: which, range }, wanted.source || undefined);
}

/** Which scopes and flags mean something together; what is not asked for must be 0. */
function checkCombination({ scope, flags, pasid, vaddr, size }: Generic): void {
  const byPasid = (scope & rfc.IOMMU_INVALIDATE_PASID) !== 0;
  const byVaddr = (scope & rfc.IOMMU_INVALIDATE_VADDR) !== 0;
  const noPasid = (flags & rfc.IOMMU_INVALIDATE_NO_PASID) !== 0;
  if (noPasid && byPasid) fail("EINVAL", "NO_PASID excludes the scope PASID");
  if (byVaddr && !byPasid && !noPasid)
    fail("EINVAL", "scope VADDR without PASID: whose addresses? Add PASID, or the flag NO_PASID");
  if (flags & rfc.IOMMU_INVALIDATE_VADDR_LEAF && !byVaddr)
    fail("EINVAL", "VADDR_LEAF is a hint about addresses: it needs the scope VADDR");
  if (!byPasid && pasid !== 0) fail("EINVAL", `pasid is ${pasid}, but the scope has no PASID`);
  if (byPasid && (pasid < 1 || pasid > 0xf_ffff)) fail("EINVAL", `${pasid} is no PASID (1-1048575)`);
  if (!byVaddr && (vaddr !== 0n || size !== 0n)) fail("EINVAL", "vaddr and size must be 0 without the scope VADDR");
  if (byVaddr && ((vaddr | size) & 0xfffn || size === 0n)) {
    fail("EINVAL", `vaddr ${hex(vaddr)} and size ${hex(size)} must be multiples of 0x1000, and the size not 0`);
  }
}

function rangeOf(start: bigint, size: bigint, isLeaf: boolean): CacheRange {
  return { start, bytes: 4096n, count: size / 4096n, isLeaf };
}

/**
 * Draining and the global hint change nothing here: there is no transfer in flight between calls, and no global page.
 */
function readHints(container: NestingContainer, bytes: Uint8Array): { caches: number; source: number } {
  const { hints, source_id: source, pfsid, caches, reserved } = rfc.IntelIommuInvalidateHints.decode(bytes);
  if (hints & ~KNOWN_HINTS)
    fail("EINVAL", `unknown hints ${hex((hints & ~KNOWN_HINTS) >>> 0)} (known: ${hex(KNOWN_HINTS)})`);
  if (caches & ~ALL_CACHES) fail("EINVAL", `unknown caches ${hex(caches)} (known: ${hex(ALL_CACHES)})`);
  if (reserved.some((byte) => byte !== 0)) fail("EINVAL", "reserved must be 0");
  for (const id of [source, pfsid]) {
    if (id !== 0 && !container.requesters.some(({ identity }) => identity.source === id))
      fail("EPERM", `source-id ${hex(id)} is no device of this container`);
  }
  return { caches, source };
}

/** The TLB of a mediated device's parent knows PASIDs of others, which it does not tell apart by domain. */
function refuseOthersPasid(container: NestingContainer, pasid: number | undefined, caches: number): void {
  if (pasid === undefined || !(caches & BY_ADDRESS) || container.isBound(pasid)) return;
  const shared = container.concerned().find(({ identity }) => identity.isMediated)?.identity;
  if (shared)
    fail("EPERM", `PASID ${pasid} is not bound here, and ${shared.functionName} serves others than ${shared.name} too`);
}
