import { type Descriptor, decodeDescriptor } from "../../uapi/intel-invalidation.ts";
import type { DeviceContext } from "./device-context.ts";
import { NO_DOMAIN, type PageRange, type TranslationCache } from "./iotlb.ts";
import type { PasidCache } from "./pasid-cache.ts";
import type { PagingStructureCache } from "./walk-cache.ts";

const EVERYTHING: PageRange = { start: 0, pages: 2 ** 52 };

/** What a unit remembers. */
export interface UnitCaches {
  readonly iotlb: TranslationCache;
  readonly structures: PagingStructureCache;
  readonly pasidCache: PasidCache;
  /** The context of a device, by its source-id; undefined when it is not attached. */
  context(source: number): DeviceContext | undefined;
}

/** What a descriptor does to the caches of a unit. A text says what is wrong with it. */
export function invalidate(unit: UnitCaches, descriptor: Descriptor): string | undefined {
  const decoded = decodeDescriptor(descriptor);
  if (typeof decoded === "string") return decoded;
  const { kind, fields } = decoded;
  const granularity = Number(fields.granularity ?? 0n);
  const domain = Number(fields.domain ?? 0n);
  const pasid = Number(fields.pasid ?? 0n);
  switch (kind) {
    case "contextCache":
      // contexts are not cached here; what depends on them is invalidated by its own descriptors
      return granularity === 0 ? "granularity 0 of a context-cache invalidation is reserved" : undefined;
    case "iotlb":
      if (granularity === 0) return "granularity 0 of an IOTLB invalidation is reserved";
      invalidateIotlb(unit, granularity, domain, fields);
      return undefined;
    case "pasidIotlb":
      if (granularity < 2) return `granularity ${granularity} of a PASID-based IOTLB invalidation is reserved`;
      invalidatePasidIotlb(unit, granularity, domain, pasid, fields);
      return undefined;
    case "pasidCache":
      if (granularity === 2) return "granularity 2 of a PASID-cache invalidation is reserved";
      if (granularity === 3) unit.pasidCache.invalidate(undefined, undefined);
      else unit.pasidCache.invalidate(domain, granularity === 1 ? pasid : undefined);
      return undefined;
    case "deviceTlb":
      deviceTlb(unit, fields)?.invalidate(NO_DOMAIN, undefined, sizedRange(fields));
      return undefined;
    case "pasidDeviceTlb":
      deviceTlb(unit, fields)?.invalidate(NO_DOMAIN, fields.global ? undefined : pasid, sizedRange(fields));
      return undefined;
    case "interruptEntry":
    case "wait":
      return undefined;
  }
}

type Fields = Readonly<Record<string, bigint>>;

/**
 * By pages it removes second-level translations; nested ones are removed by domain, since their tags are guest
 * addresses.
 */
function invalidateIotlb(unit: UnitCaches, granularity: number, domain: number, fields: Fields): void {
  const which = granularity === 1 ? undefined : domain;
  unit.iotlb.invalidate(which, undefined, granularity === 3 ? maskedRange(fields) : undefined, granularity === 3);
  unit.structures.invalidate(which, undefined);
}

function invalidatePasidIotlb(
  unit: UnitCaches,
  granularity: number,
  domain: number,
  pasid: number,
  fields: Fields,
): void {
  const range = granularity === 3 ? maskedRange(fields) : undefined;
  unit.iotlb.invalidate(domain, pasid, range);
  if (!range || !fields.leafHint) unit.structures.invalidate(domain, pasid, range);
}

/** 2^am pages, aligned to their size. */
function maskedRange(fields: Fields): PageRange {
  return aligned(fields.address!, 2 ** Number(fields.addressMask!));
}

function aligned(page: bigint, pages: number): PageRange {
  const start = Number(page);
  return { start: start - (start % pages), pages };
}

/**
 * PCI's encoding: with the size bit, the lowest zero bit above bit 12 says that twice as many bytes are meant (ATS
 * specification).
 */
function sizedRange(fields: Fields): PageRange {
  if (!fields.size) return aligned(fields.address!, 1);
  let ones = 0n;
  while (ones < 52n && (fields.address! >> ones) & 1n) ones++;
  if (ones >= 51n) return EVERYTHING;
  return aligned(fields.address!, 2 ** (Number(ones) + 1));
}

function deviceTlb(unit: UnitCaches, fields: Fields) {
  return unit.context(Number(fields.sourceId))?.deviceTlb;
}
