import { deviceName } from "../../machine/find-device.ts";
import { barsConditions, barsReason, barsWarning } from "./bars.ts";
import { type Collision, collide, type RangeVerdict } from "./collide.ts";
import { type FitHost, groupsOf } from "./host-side.ts";
import type { GuestLayout, LayoutRequest } from "./layout.ts";
import { type Assumptions, checkLimits, type LimitVerdict } from "./limits.ts";
import { hex } from "./sizes.ts";

/** A guest on a host, as it is judged. */
export interface FitRequest {
  /** The host's side: devices, and what its kernel says of them. */
  readonly host: FitHost;
  /** Where the guest's memory is. */
  readonly layout: GuestLayout;
  /** What else counts. */
  readonly assumptions: Assumptions;
  /**
   * How the layout came about, and how to make another one: what cures are tried with. Absent for a layout from a file.
   */
  readonly planned?: PlannedLayout;
}

export interface PlannedLayout {
  readonly request: LayoutRequest;
  layout(request: LayoutRequest): GuestLayout;
}

export interface Verdict {
  /** Nothing is against it; `conditions` may have to be met first. */
  readonly fits: boolean;
  /** Why it does not, a line each. */
  readonly reasons: readonly string[];
  /** What must hold so that it fits, and could not be checked or is not so yet: each completes "it fits if ...". */
  readonly conditions: readonly string[];
  /** Each range of the guest, and what it collides with. */
  readonly ranges: readonly RangeVerdict[];
  /** Each limit, and what is needed of it. */
  readonly limits: readonly LimitVerdict[];
  /** What does not keep the guest from running, but should be known. */
  readonly warnings: readonly string[];
}

/** The answer without the search for cures. */
export function judge({ host, layout, assumptions, planned }: FitRequest): Verdict {
  const reasons: string[] = [];
  const conditions: string[] = [...host.conditions];
  const warnings: string[] = [];
  if (host.refusal !== undefined) reasons.push(host.refusal);
  if (layout.refusal !== undefined) reasons.push(layout.refusal);
  if (assumptions.viommu) reasons.push(...sharedGroups(host));
  const ranges = host.answer
    ? collide(layout.ranges, host, host.answer)
    : layout.ranges.map((range) => ({ range, collisions: [] }));
  for (const { range, collisions } of ranges) {
    if (collisions.length === 0) continue;
    if (range.kind !== "bars") reasons.push(`${range.name}: ${collisions.map(collisionText).join("; ")}`);
    else if (!range.isFatal) warnings.push(barsWarning(range.name, collisions, layout));
    else if (planned?.request.physBits === undefined) conditions.push(...barsConditions(collisions, layout));
    else reasons.push(barsReason(range.name, collisions, layout));
  }
  const limits = checkLimits(layout, host, assumptions);
  for (const limit of limits) if (!limit.fits) reasons.push(`${limit.name}: ${limit.text}`);
  return { fits: reasons.length === 0, reasons, conditions, ranges, limits, warnings };
}

/**
 * Behind a vIOMMU each device has an address space of its own, but a group has one container only. QEMU refuses the
 * second (hw/vfio/container.c: vfio_group_get, "group N used in multiple address spaces").
 */
function sharedGroups(host: FitHost): string[] {
  return groupsOf(host).flatMap((group) => {
    const devices = host.devices.filter((found) => found.group === group).map(({ device }) => deviceName(device));
    if (devices.length < 2) return [];
    return `vIOMMU: ${devices.join(" and ")} are in one group (${group.id}), which can be in one address space only, and a vIOMMU gives each device one of its own`;
  });
}

function collisionText({ start, last, cause }: Collision): string {
  if (cause.kind === "reserved")
    return `${hex(start)}-${hex(last)} lies in ${cause.name}, reserved region ${hex(cause.region.start)}-${hex(cause.region.last)} (${cause.region.type}) of ${cause.of}`;
  if (cause.kind === "aperture")
    return `${hex(start)}-${hex(last)} lies beyond what the IOMMU translates, ${hex(cause.aperture.start)}-${hex(cause.aperture.last)} (${cause.of})`;
  return `not a multiple of the smallest IOMMU page, ${hex(cause.page)}`;
}
