import { isHostDriver } from "../../host/driver-binding.ts";
import { binds } from "../../iommu/group.ts";
import { hexRange } from "../../kernel/errors.ts";
import { hasVfioDriver } from "../../machine/device-nodes.ts";
import { allDevices, deviceName, type FoundDevice } from "../../machine/find-device.ts";
import type { GroupDescription, HostDescription } from "../../machine/host-description.ts";
import type { NamedRange } from "./findings.ts";
import type { CallName, LineFacts } from "./rule.ts";

/** What the host answers when a call is made on it. */
export type HostAnswer =
  | { readonly kind: "fails"; readonly errno: string; readonly reason: string; readonly at: string }
  | { readonly kind: "succeeds" };

/** A captured host that can be asked: the model of it, booted. */
export interface HostOracle {
  readonly description: HostDescription;
  /** Makes the calls that lead to this one, and it; undefined where the host has nothing to make it with. */
  ask(call: CallName, devices: readonly FoundDevice[], range: NamedRange | undefined): HostAnswer | undefined;
}

/**
 * The host's devices that a line is about: the one that it names, those of the group that it names, those that other
 * lines name, else all that VFIO has. Empty where the line names one that the host has not.
 * @param named PCI addresses that other lines of the log name
 */
export function devicesOf(
  host: HostDescription,
  { bdf, group }: LineFacts,
  named: ReadonlySet<string> = new Set(),
): readonly FoundDevice[] {
  const all = allDevices(host);
  if (bdf !== undefined) return all.filter(({ device }) => deviceName(device) === bdf);
  const members = all.filter((found) => found.group.id === group);
  if (members.length > 0) return members;
  const others = all.filter(({ device }) => named.has(deviceName(device)));
  return others.length > 0 ? others : all.filter(({ device }) => hasVfioDriver(device));
}

/** What a host has that a call depends on, a line each. */
export function hostFacts(host: HostDescription, call: CallName, devices: readonly FoundDevice[]): readonly string[] {
  const groups = [...new Set(devices.map(({ group }) => group))];
  switch (call) {
    case "map":
    case "ioas-map":
      return [...groups.flatMap((group) => addressFacts(host, group)), entryLimit(host)];
    case "open-group":
    case "set-container":
    case "device-fd":
    case "bind-iommufd":
      return groups.map(members);
    case "set-iommu":
    case "attach-pt":
      return [...groups.flatMap((group) => addressFacts(host, group)), remapping(host)];
    default:
      return [];
  }
}

function addressFacts(host: HostDescription, group: GroupDescription): string[] {
  const unit = group.iommu ?? host.iommu;
  const regions = group.reservedRegions
    .filter(binds)
    .map(({ start, last, type }) => `${hexRange(start, last)} (${type})`);
  const names = group.devices.map(deviceName).join(", ");
  return [
    `group ${group.id} (${names}): ${unit.model} translates ${hexRange(unit.apertureStart, unit.apertureLast)}, smallest page 0x${(unit.pageSizes & -unit.pageSizes).toString(16)}; reserved: ${regions.length === 0 ? "nothing" : regions.join(", ")}`,
  ];
}

function entryLimit({ modules }: HostDescription): string {
  return `a container may have ${modules.vfioIommuType1.dmaEntryLimit} mappings (vfio_iommu_type1.dma_entry_limit)`;
}

function remapping({ iommu, modules }: HostDescription): string {
  const allowed = modules.vfioIommuType1.allowUnsafeInterrupts ? 1 : 0;
  return `interrupts are ${iommu.interruptRemapping ? "" : "not "}remapped; vfio_iommu_type1.allow_unsafe_interrupts is ${allowed}`;
}

function members(group: GroupDescription): string {
  const devices = group.devices.map((device) => {
    const driver = device.driver ?? "no driver";
    return `${deviceName(device)} ${driver}${isHostDriver(device.driver ?? undefined) ? " (the host's)" : ""}`;
  });
  return `group ${group.id}: ${devices.join(", ")}`;
}
