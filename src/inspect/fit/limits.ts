import { type ContainerAnswer, type FitHost, groupsOf, hasIommu } from "./host-side.ts";
import type { GuestLayout, GuestRange } from "./layout.ts";
import { bitsFor, GIB, hex, KIB, MIB, roughSize, sizeText } from "./sizes.ts";

/** What is assumed about the way a VMM uses the API. */
export interface Assumptions {
  /** Each group has a container of its own, all of guest memory in it (a vIOMMU whose guest is in passthrough mode). */
  readonly viommu: boolean;
  /** Largest piece that one MAP_DMA maps; a whole range when left out. */
  readonly chunk?: bigint;
  /** RLIMIT_MEMLOCK in bytes; not checked when left out. */
  readonly memlock?: bigint;
  /** Address bits of the guest's CPU; as many as are needed when left out. */
  readonly physBits?: number;
}

/** One limit: what is there and what is needed. */
export interface LimitVerdict {
  readonly name: "mappings" | "locked memory" | "guest address bits";
  readonly fits: boolean;
  readonly needed: bigint;
  /** Absent: there is no limit, or nobody said which. */
  readonly limit?: bigint;
  readonly text: string;
}

export function checkLimits(layout: GuestLayout, host: FitHost, assumptions: Assumptions): readonly LimitVerdict[] {
  return [
    ...(host.answer ? [checkMappings(layout, host.answer, assumptions)] : []),
    checkMemlock(layout, host, assumptions),
    ...checkPhysBits(layout, assumptions),
  ];
}

/** How many calls of MAP_DMA a container sees; which BARs are mapped is up to the guest, they are not counted. */
function mappingCount(ranges: readonly GuestRange[], chunk: bigint | undefined): bigint {
  let count = 0n;
  for (const { kind, start, last } of ranges)
    if (kind !== "bars") count += chunk === undefined ? 1n : (last - start + chunk) / chunk;
  return count;
}

function checkMappings(
  layout: GuestLayout,
  { entryLimit: limit }: ContainerAnswer,
  { viommu, chunk }: Assumptions,
): LimitVerdict {
  const needed = mappingCount(layout.ranges, chunk);
  const how = chunk === undefined ? "one MAP_DMA for each range" : `pieces of ${sizeText(chunk)}`;
  const which = limit === undefined ? "no limit" : `of ${limit} (dma_entry_limit)`;
  const worst =
    viommu && chunk === undefined && limit !== undefined
      ? `; a guest that maps all its memory itself needs pieces of at least ${sizeText(smallestChunk(layout.ranges, limit))}`
      : "";
  return {
    name: "mappings",
    fits: limit === undefined || needed <= BigInt(limit),
    needed,
    ...(limit !== undefined && { limit: BigInt(limit) }),
    text: `${needed} ${which}${viommu ? " in each container" : ""}, ${how}${worst}${beyond(needed, limit, chunk)}`,
  };
}

/** How far a limit of mappings reaches, when more are needed. */
function beyond(needed: bigint, limit: number | undefined, chunk: bigint | undefined): string {
  if (limit === undefined || needed <= BigInt(limit)) return "";
  const reach = chunk === undefined ? "" : `; ${limit} of them cover ${roughSize(BigInt(limit) * chunk)}`;
  return `: the next MAP_DMA is ENOSPC${reach}`;
}

/** The smallest power of two that a layout can be mapped in without exceeding the limit. */
export function smallestChunk(ranges: readonly GuestRange[], limit: number): bigint {
  let chunk = 4n * KIB;
  while (mappingCount(ranges, chunk) > BigInt(limit) && chunk < 1n << 63n) chunk <<= 1n;
  return chunk;
}

/**
 * What type1 charges to the process: all that is mapped, for each container again (vfio_iommu_type1.c:
 * vfio_pin_pages_remote).
 */
function lockedBytes(layout: GuestLayout, host: FitHost, viommu: boolean): bigint {
  const pinning = groupsOf(host).filter(hasIommu).length;
  let once = 0n;
  for (const { kind, start, last } of layout.ranges)
    if (kind === "ram" || kind === "firmware") once += last - start + 1n;
  return once * BigInt(viommu ? pinning : Math.min(pinning, 1));
}

function checkMemlock(layout: GuestLayout, host: FitHost, { viommu, memlock }: Assumptions): LimitVerdict {
  const needed = lockedBytes(layout, host, viommu);
  const containers = groupsOf(host).filter(hasIommu).length;
  const times = viommu && containers > 1 ? ` (all of it for each of ${containers} groups)` : "";
  const plugged = layout.ranges.some((range) => range.kind === "hotplug") ? ", and what is plugged later" : "";
  const limit =
    memlock === undefined
      ? "RLIMIT_MEMLOCK not given; CAP_IPC_LOCK needs none"
      : `RLIMIT_MEMLOCK ${lockedText(memlock)}`;
  return {
    name: "locked memory",
    fits: memlock === undefined || needed <= memlock,
    needed,
    ...(memlock !== undefined && { limit: memlock }),
    text:
      needed === 0n
        ? "none from the start: mediated devices pin what they use"
        : `${lockedText(needed)}${times}${plugged}; ${limit}`,
  };
}

/** Firmware makes the sum odd: whole GiB are easier to read, KiB are what ulimit takes. */
function lockedText(bytes: bigint): string {
  const rest = bytes % GIB;
  return rest > 0n && rest < 16n * MIB && bytes > GIB
    ? `${sizeText(bytes - rest)} + ${sizeText(rest)}`
    : sizeText(bytes);
}

function checkPhysBits(layout: GuestLayout, { physBits }: Assumptions): readonly LimitVerdict[] {
  const needed = bitsFor(layout.highest);
  const reach = `${layout.highestIs} ends at ${hex(layout.highest)}`;
  if (physBits === undefined) {
    const { defaultPhysBits } = layout;
    if (defaultPhysBits === undefined || needed <= defaultPhysBits) return [];
    const more = `at least ${needed}: ${reach}; the default is ${defaultPhysBits}, so it takes ${withBits(layout.physBitsCure, needed)}`;
    return [{ name: "guest address bits", fits: true, needed: BigInt(needed), text: more }];
  }
  return [
    {
      name: "guest address bits",
      fits: needed <= physBits,
      needed: BigInt(needed),
      limit: BigInt(physBits),
      text: `${needed} of ${physBits}: ${reach}`,
    },
  ];
}

/** A cure with its N filled in: "-cpu MODEL,phys-bits=42". */
export function withBits(cure: string, bits: number): string {
  return cure.replaceAll(/\bN\b/g, String(bits));
}

/** Whole pages for a limit: `ulimit -l` counts KiB. */
export function ulimitKib(bytes: bigint): bigint {
  return (bytes + KIB - 1n) / KIB;
}
