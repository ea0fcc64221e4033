import type { IovaRange } from "../../address/iova-ranges.ts";
import { deviceName } from "../../machine/find-device.ts";
import type { GroupDescription } from "../../machine/host-description.ts";
import { barsCure } from "./bars.ts";
import type { Cause } from "./collide.ts";
import { groupsOf, hasIommu } from "./host-side.ts";
import { type FitRequest, judge, type Verdict } from "./judge.ts";
import { type GuestLayout, hasSince } from "./layout.ts";
import { smallestChunk, ulimitKib, withBits } from "./limits.ts";
import { bitsFor, GIB, hex, MIB, rangeText, roundUp, sizeText } from "./sizes.ts";

/** What the parameter dma_entry_limit can hold. */
const UINT_MAX = 0xffff_ffffn;

/** Something that would make it fit. Those about the layout have been tried. */
export interface Cure {
  readonly text: string;
}

/** What would cure a guest that does not fit, or that fits with a warning. */
export function cures(request: FitRequest, verdict: Verdict): readonly Cure[] {
  return [...(verdict.fits ? [] : memoryCures(request, verdict)), ...barCures(request, verdict)].map((text) => ({
    text,
  }));
}

/** For BARs that cannot be mapped, whether the VMM goes on or not. */
function barCures({ layout }: FitRequest, { ranges }: Verdict): string[] {
  const texts = ranges.flatMap(({ range, collisions }) =>
    range.kind === "bars" && collisions.length > 0 ? [barsCure(collisions, layout)] : [],
  );
  return [...new Set(texts)].filter((text) => text !== undefined);
}

function memoryCures(request: FitRequest, verdict: Verdict): string[] {
  const causes = verdict.ranges.flatMap(({ range, collisions }) =>
    range.kind === "bars" ? [] : collisions.map(({ cause }) => cause),
  );
  return [
    ...otherDevices(request),
    ...(request.assumptions.viommu ? oneDeviceOfAGroup(request) : []),
    ...(causes.length > 0 ? [...relocate(request), ...widerIommu(request, causes), ...lessMemory(request)] : []),
    ...(causes.length > 0 && !request.planned ? moveRanges(request, verdict) : []),
    ...(causes.some(isFirmwareMemory) || refusedForFirmware(request) ? [FIRMWARE_CURE] : []),
    ...verdict.limits.filter((limit) => !limit.fits).flatMap((limit) => limitCures(request, limit.name, limit.needed)),
  ];
}

/** Whether a layout is clear of collisions; other limits have cures of their own. */
function rangesFit(request: FitRequest, layout: GuestLayout): boolean {
  return judge({ ...request, layout, assumptions: { viommu: false } }).ranges.every(
    ({ range, collisions }) => range.kind === "bars" || collisions.length === 0,
  );
}

/** Leaves out what the host does not give away. */
function otherDevices({ host: { usable = [] } }: FitRequest): string[] {
  if (usable.length === 0) return [];
  return [`the other devices can be given: --device ${usable.map(({ device }) => deviceName(device)).join(" ")}`];
}

/** QEMU's relocation above 1 TiB: for AMD CPUs, from machine version 7.1 on. */
function relocate(request: FitRequest): string[] {
  const { planned } = request;
  if (!planned || !request.layout.vmm.startsWith("QEMU pc-")) return [];
  const { version, cpuVendor } = planned.request;
  const { version: _old, ...rest } = planned.request;
  if (cpuVendor === "amd" && hasSince(version, "7.1")) return [];
  const layout = planned.layout({ ...rest, cpuVendor: "amd" });
  if (!rangesFit(request, layout)) return [];
  const bits = bitsFor(layout.highest);
  const what = [
    ...(hasSince(version, "7.1") ? [] : ["machine version 7.1 or newer (--vmm-version 7.1)"]),
    ...(cpuVendor === "amd" ? [] : ["an AMD CPU model (--cpu-vendor amd)"]),
  ];
  return [
    `relocate above 1 TiB: ${what.join(" and ")} puts memory above 4 GiB behind the hole; the guest's CPU then needs ${bits} address bits (${withBits(layout.physBitsCure, bits)})`,
  ];
}

/** The units that are too narrow, with their devices; others of the host may be wide enough. */
function widerIommu({ layout, host }: FitRequest, causes: readonly Cause[]): string[] {
  if (!causes.some((cause) => cause.kind === "aperture")) return [];
  const memory = layout.ranges.filter((range) => range.kind !== "bars");
  const { start } = memory[0]!;
  const { last } = memory.at(-1)!;
  const unitOf = (group: GroupDescription) => group.iommu ?? host.description.iommu;
  const isNarrow = (group: GroupDescription) =>
    unitOf(group).apertureLast < last || unitOf(group).apertureStart > start;
  const all = groupsOf(host).filter(hasIommu);
  const narrow = all.filter(isNarrow);
  const units = [...new Set(narrow.map(unitOf))].map((unit) => {
    const devices = narrow.filter((group) => unitOf(group) === unit).flatMap((group) => group.devices.map(deviceName));
    return `${rangeText({ start: unit.apertureStart, last: unit.apertureLast })} (${devices.join(", ")})`;
  });
  const first = narrow.some((group) => unitOf(group).apertureStart > start) ? `, from ${hex(start)} on` : "";
  return [
    `an IOMMU that translates at least ${bitsFor(last)} address bits${first}, however many the CPU has; here it translates ${units.join(" and ")}`,
    ...(narrow.length < all.length
      ? [
          `give the guest only devices behind a wider IOMMU: ${all
            .filter((group) => !isNarrow(group))
            .flatMap((group) =>
              host.devices.filter((found) => found.group === group).map(({ device }) => deviceName(device)),
            )
            .join(" ")}`,
        ]
      : []),
  ];
}

/** The most that fits with all else as it is, in whole GiB, or MiB below one. */
function lessMemory(request: FitRequest): string[] {
  const { planned } = request;
  if (!planned || planned.request.maxMemory !== planned.request.memory) return [];
  const fitsWith = (memory: bigint) =>
    rangesFit(request, planned.layout({ ...planned.request, memory, maxMemory: memory }));
  for (const unit of [GIB, MIB]) {
    let good = 0n;
    let bad = roundUp(planned.request.memory, unit) / unit;
    while (bad - good > 1n) {
      const middle = (good + bad) / 2n;
      if (fitsWith(middle * unit)) good = middle;
      else bad = middle;
    }
    if (good > 0n)
      return [
        `less memory: ${sizeText(good * unit)} fits this layout, 1 ${unit === GIB ? "GiB" : "MiB"} more does not`,
      ];
  }
  return [];
}

/** For a layout that the user wrote: a place for each range that collides. */
function moveRanges({ host, layout }: FitRequest, verdict: Verdict): string[] {
  const valid = host.answer?.validRanges ?? [];
  const taken: IovaRange[] = [...layout.ranges];
  return verdict.ranges.flatMap(({ range, collisions }) => {
    if (range.kind === "bars" || collisions.every(({ cause }) => cause.kind === "page")) return [];
    const size = range.last - range.start + 1n;
    const place = findPlace(valid, taken, size);
    if (!place) return [];
    taken.push(place);
    return [`move ${range.name}: ${rangeText(place)} is valid and free (${sizeText(size)})`];
  });
}

/** The first place at a whole GiB, above 4 GiB where possible. */
function findPlace(valid: readonly IovaRange[], taken: readonly IovaRange[], size: bigint): IovaRange | undefined {
  for (const range of valid) {
    let start = roundUp(range.start, GIB);
    if (start < 4n * GIB) start = 4n * GIB;
    for (;;) {
      const last = start + size - 1n;
      if (last > range.last) break;
      const inTheWay = taken.find((other) => other.start <= last && other.last >= start);
      if (!inTheWay) return { start, last };
      start = roundUp(inTheWay.last + 1n, GIB);
    }
  }
  return undefined;
}

function isFirmwareMemory(cause: Cause): boolean {
  return cause.kind === "reserved" && cause.region.type === "direct";
}

const FIRMWARE_CURE =
  'switch off in the firmware what uses that memory through the device (USB legacy support; out-of-band management: HPE\'s "shared memory" features of the slot, conrep), or give the guest another device';

/** The kernel does not give a device away that firmware uses (RMRR, IVMD). */
function refusedForFirmware({ host }: FitRequest): boolean {
  if (host.refusal === undefined) return false;
  return groupsOf(host).some((group) => group.reservedRegions.some(({ type }) => type === "direct"));
}

/** Behind a vIOMMU a group is for one device, or for several that share one address space in the guest too. */
function oneDeviceOfAGroup({ host }: FitRequest): string[] {
  const crowded = groupsOf(host).filter((group) => host.devices.filter((found) => found.group === group).length > 1);
  if (crowded.length === 0) return [];
  return [
    `give the guest one device of group ${crowded.map(({ id }) => id).join(", ")}; or put them behind one conventional PCI bridge of the guest (QEMU: -device pcie-pci-bridge), where they share an address space; or leave out the vIOMMU`,
  ];
}

function limitCures({ host, layout, assumptions }: FitRequest, name: string, needed: bigint): string[] {
  if (name === "mappings") {
    const limit = host.answer!.entryLimit!;
    return [
      `larger pieces: with ${sizeText(smallestChunk(layout.ranges, limit))} and more${assumptions.viommu ? " (huge pages behind the vIOMMU)" : ""} they stay within ${limit}`,
      ...(needed <= UINT_MAX
        ? [
            `raise the limit before the guest starts: echo ${needed} > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit, or the module option dma_entry_limit=${needed}`,
          ]
        : []),
    ];
  }
  if (name === "locked memory") {
    const groups = groupsOf(host).filter(hasIommu).length;
    return [
      `raise RLIMIT_MEMLOCK to ${ulimitKib(needed)} KiB: ulimit -l ${ulimitKib(needed)}, LimitMEMLOCK= of the systemd unit, libvirt's <hard_limit>; or give CAP_IPC_LOCK`,
      ...(assumptions.viommu && groups > 1
        ? [`no vIOMMU: then the ${groups} groups share one container, and memory is locked once`]
        : []),
    ];
  }
  return [`${needed} address bits for the guest's CPU: ${withBits(layout.physBitsCure, Number(needed))}`];
}
