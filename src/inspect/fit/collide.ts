import { cutOut, type IovaRange } from "../../address/iova-ranges.ts";
import type { ReservedRegionType } from "../../iommu/group.ts";
import { binds } from "../../iommu/group.ts";
import { regionName as knownName } from "../../iommu/kinds.ts";
import { deviceName } from "../../machine/find-device.ts";
import type { GroupDescription } from "../../machine/host-description.ts";
import { type ContainerAnswer, type FitHost, groupsOf, hasIommu } from "./host-side.ts";
import type { GuestRange } from "./layout.ts";
import { bitsFor, hex, rangeText } from "./sizes.ts";

/**
 * reserved: a region that devices cannot use; aperture: beyond what an IOMMU translates; page: no multiple of its
 * smallest page.
 */
export type Cause =
  | {
      readonly kind: "reserved";
      readonly region: IovaRange & { readonly type: ReservedRegionType };
      readonly name: string;
      readonly of: string;
    }
  | { readonly kind: "aperture"; readonly aperture: IovaRange; readonly of: string }
  | { readonly kind: "page"; readonly page: bigint };

/** A part of a guest range that cannot be mapped, and why. */
export interface Collision extends IovaRange {
  readonly cause: Cause;
}

export interface RangeVerdict {
  readonly range: GuestRange;
  /** Empty: the range can be mapped as it is. */
  readonly collisions: readonly Collision[];
}

/** Compares a guest's ranges with what a container takes. One MAP_DMA must lie in one valid range as a whole. */
export function collide(
  ranges: readonly GuestRange[],
  host: FitHost,
  { validRanges, iommuPage }: ContainerAnswer,
): readonly RangeVerdict[] {
  return ranges.map((range) => {
    if (range.start % iommuPage !== 0n || (range.last + 1n) % iommuPage !== 0n)
      return {
        range,
        collisions: [{ start: range.start, last: range.last, cause: { kind: "page", page: iommuPage } }],
      };
    if (!validRanges) return { range, collisions: [] };
    let missing: IovaRange[] = [range];
    for (const valid of validRanges) missing = missing.flatMap((part) => cutOut([part], valid));
    const end = range.start + (range.used ?? range.last - range.start + 1n);
    const met = missing.filter((part) => part.start < end);
    return { range, collisions: met.map((part) => ({ ...bytes(part), cause: causeOf(part, host) })) };
  });
}

/** Which region or aperture keeps a part out: of all, the one that covers most of it. */
function causeOf(part: IovaRange, host: FitHost): Cause {
  const groups = groupsOf(host).filter(hasIommu);
  let best: { readonly cause: Cause; readonly covered: bigint } | undefined;
  const consider = (cause: Cause, covered: bigint) => {
    if (covered > 0n && (!best || covered > best.covered)) best = { cause, covered };
  };
  for (const group of groups) {
    for (const region of group.reservedRegions) {
      if (!binds(region)) continue;
      const of = groups.length > 1 && isEverywhere(region, groups) ? "every device here" : labelOf(group);
      consider({ kind: "reserved", region, name: regionName(region), of }, overlap(part, region));
    }
    const unit = group.iommu ?? host.description.iommu;
    const aperture = { start: unit.apertureStart, last: unit.apertureLast };
    const outside = part.last - part.start + 1n - overlap(part, aperture);
    const of = `${unit.model}, ${bitsFor(aperture.last)} address bits`;
    consider({ kind: "aperture", aperture, of }, outside);
  }
  if (!best) throw new Error(`nothing keeps ${rangeText(part)} out, yet it is not valid`);
  return best.cause;
}

function isEverywhere(region: IovaRange, groups: readonly GroupDescription[]): boolean {
  return groups.every((group) => group.reservedRegions.some((other) => sameBytes(other, region)));
}

/** "0000:01:00.0 (group 13)" */
function labelOf(group: GroupDescription): string {
  return `${group.devices.map(deviceName).join(", ")} (group ${group.id})`;
}

/** What people call a region. */
function regionName(region: IovaRange & { readonly type: ReservedRegionType }): string {
  const known = knownName(region);
  if (known !== undefined) return known;
  if (region.type === "msi") return "an interrupt window";
  return region.type === "direct" ? "memory that firmware uses through the device (RMRR, IVMD)" : "a reserved region";
}

/** In words, for a line of the report. */
export function causeText(cause: Cause): string {
  if (cause.kind === "page") return `no multiple of the smallest IOMMU page, ${hex(cause.page)}`;
  if (cause.kind === "aperture") return `beyond the IOMMU's aperture ${rangeText(cause.aperture)} (${cause.of})`;
  const { region, name, of } = cause;
  return `in reserved region ${rangeText(region)} (${region.type}) of ${of}: ${name}`;
}

function bytes({ start, last }: IovaRange): IovaRange {
  return { start, last };
}

function sameBytes(a: IovaRange, b: IovaRange): boolean {
  return a.start === b.start && a.last === b.last;
}

function overlap(a: IovaRange, b: IovaRange): bigint {
  const start = a.start > b.start ? a.start : b.start;
  const last = a.last < b.last ? a.last : b.last;
  return last < start ? 0n : last - start + 1n;
}
