import { type Collision, collide, type RangeVerdict } from "./collide.ts";
import type { FitHost } from "./host-side.ts";
import type { GuestLayout, LayoutRequest } from "./layout.ts";
import { type Assumptions, checkLimits, type LimitVerdict } from "./limits.ts";
import { hex } from "./sizes.ts";

export interface FitRequest {
  readonly host: FitHost;
  readonly layout: GuestLayout;
  readonly assumptions: Assumptions;
  /** How the layout came about, and how to make another one: what cures are tried with. Absent for a layout from a file. */
  readonly planned?: PlannedLayout;
}

export interface PlannedLayout {
  readonly request: LayoutRequest;
  layout(request: LayoutRequest): GuestLayout;
}

export interface Verdict {
  readonly fits: boolean;
  /** Why it does not, a line each. */
  readonly reasons: readonly string[];
  readonly ranges: readonly RangeVerdict[];
  readonly limits: readonly LimitVerdict[];
  /** What does not keep the guest from running, but should be known. */
  readonly warnings: readonly string[];
}

/** The answer without the search for cures. */
export function judge({ host, layout, assumptions }: FitRequest): Verdict {
  const reasons: string[] = [];
  const warnings: string[] = [];
  if (host.refusal !== undefined) reasons.push(host.refusal);
  if (layout.refusal !== undefined) reasons.push(layout.refusal);
  const ranges = host.answer
    ? collide(layout.ranges, host, host.answer)
    : layout.ranges.map((range) => ({ range, collisions: [] }));
  for (const { range, collisions } of ranges) {
    if (collisions.length === 0) continue;
    if (range.kind === "bars") warnings.push(windowWarning(range.name, collisions, layout));
    else reasons.push(`${range.name}: ${collisions.map(collisionText).join("; ")}`);
  }
  const limits = checkLimits(layout, host, assumptions);
  for (const limit of limits) if (!limit.fits) reasons.push(`${limit.name}: ${limit.text}`);
  return { fits: reasons.length === 0, reasons, ranges, limits, warnings };
}

function windowWarning(name: string, collisions: readonly Collision[], { vmm }: GuestLayout): string {
  const [{ start, last }] = collisions as [Collision];
  const who = vmm.startsWith("QEMU") ? "QEMU warns and goes on" : "the guest may run without";
  return `${name}: a BAR at ${hex(start)}-${hex(last)} cannot be mapped, so other devices cannot reach it (peer-to-peer); ${who}`;
}

function collisionText({ start, last, cause }: Collision): string {
  if (cause.kind === "reserved")
    return `${hex(start)}-${hex(last)} lies in ${cause.name}, reserved region ${hex(cause.region.start)}-${hex(cause.region.last)} (${cause.region.type}) of ${cause.of}`;
  if (cause.kind === "aperture")
    return `${hex(start)}-${hex(last)} lies beyond what the IOMMU translates, ${hex(cause.aperture.start)}-${hex(cause.aperture.last)} (${cause.of})`;
  return `not a multiple of the smallest IOMMU page, ${hex(cause.page)}`;
}
