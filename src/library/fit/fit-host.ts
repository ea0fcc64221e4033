import { Container } from "../../client/container.ts";
import { Group } from "../../client/group.ts";
import { ModelTransport } from "../../client/model-transport.ts";
import { SystemCallError } from "../../client/transport.ts";
import { isBridge } from "../../devices/description.ts";
import { isHostDriver } from "../../host/driver-binding.ts";
import { Host } from "../../host/host.ts";
import { type ContainerAnswer, type FitHost, hasIommu } from "../../inspect/fit/host-side.ts";
import { kindOf } from "../../iommu/kinds.ts";
import { Release, releaseWarning } from "../../kernel/releases.ts";
import { hasVfioDriver } from "../../machine/device-nodes.ts";
import { allDevices, deviceName, type FoundDevice, findDevice } from "../../machine/find-device.ts";
import type { DeviceDescription, GroupDescription, HostDescription } from "../../machine/host-description.ts";
import { vmdControllerOf } from "../../machine/vmd.ts";
import { VFIO_TYPE1v2_IOMMU } from "../../uapi/vfio.ts";
import { UsageError } from "../usage-error.ts";

/** The first kernel that tells and enforces the valid ranges. */
const RANGES_SINCE = "5.4";

/**
 * The host's side of `uvfio fit`: boots the described host, puts the devices' groups into one container and asks it, as
 * a VMM would. Drivers need not be bound yet, and what must be done for that becomes a note.
 * @param names devices; all that are bound to a VFIO driver when empty
 */
export function fitHost(description: HostDescription, names: readonly string[]): FitHost {
  const noIommu = !kindOf(description.iommu.model).translates;
  const devices = noIommu && names.length === 0 ? allDevices(description) : chooseDevices(description, names);
  const refused = (refusal: string): FitHost => ({ description, devices, refusal, notes: [], conditions: [] });
  if (noIommu)
    return refused("no IOMMU: VFIO cannot map guest memory for the devices of this host (no-IOMMU mode maps nothing)");
  const notes: string[] = [];
  const conditions: string[] = [];
  const ready = prepare(description, devices, notes, conditions);
  if (description.vfioContainer === "spapr") {
    notes.push(
      "POWER: DMA goes through windows that the guest fills (sPAPR TCE), so no guest address has to be a valid IOVA; guest memory is registered and locked",
    );
    return { description, devices, notes, conditions };
  }
  try {
    return { description, devices, answer: ask(ready, devices), notes, conditions };
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    const refusal = `the host does not give these devices to a guest: ${error.reason ?? error.message}`;
    return { ...refused(refusal), usable: usableAlone(ready, devices), notes };
  }
}

/** The devices whose groups can be attached, each by itself; none when that are all or there is but one group. */
function usableAlone(description: HostDescription, devices: readonly FoundDevice[]): readonly FoundDevice[] {
  const usable = devices.filter((found) => {
    try {
      ask(description, [found]);
      return true;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      return false;
    }
  });
  return usable.length === devices.length ? [] : usable;
}

function chooseDevices(description: HostDescription, names: readonly string[]): readonly FoundDevice[] {
  if (names.length > 0) {
    const chosen = chosenBy(description, names);
    for (const found of chosen) refuseUngivable(description, found);
    return chosen;
  }
  const all = allDevices(description);
  const bound = all.filter(({ device }) => hasVfioDriver(device));
  if (bound.length === 0) {
    const there = all.map(({ device }) => deviceName(device)).join(", ");
    throw new UsageError(
      `no device of host ${description.name} is bound to vfio-pci: name what the guest gets with --device (${there === "" ? "the host has no devices" : `there are: ${there}`})`,
    );
  }
  return bound;
}

/** Each named by its address, or by its ids: then the first such device that no other name has taken. */
function chosenBy(description: HostDescription, names: readonly string[]): readonly FoundDevice[] {
  const chosen = new Set<FoundDevice>();
  for (const name of names) {
    if (!IDS.test(name)) {
      chosen.add(findDevice(description, name));
      continue;
    }
    const found = allDevices(description).find((each) => hasIds(each.device, name.toLowerCase()) && !chosen.has(each));
    if (!found)
      throw new UsageError(
        `--device ${name}: host ${description.name} has no ${chosen.size > 0 ? "further " : ""}device with these ids`,
      );
    chosen.add(found);
  }
  return [...chosen];
}

/** VENDOR:DEVICE, as lspci -n has them. */
const IDS = /^[0-9a-f]{4}:[0-9a-f]{4}$/i;

function hasIds(device: DeviceDescription, ids: string): boolean {
  return device.bus === "pci" && idsOf(device) === ids;
}

/** "8086:10fb" */
export function idsOf({ vendor, device }: { readonly vendor: number; readonly device: number }): string {
  return `${hex4(vendor)}:${hex4(device)}`;
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}

/** What VFIO cannot give to a guest by itself. */
function refuseUngivable(description: HostDescription, { device, group }: FoundDevice): void {
  const controller = vmdControllerOf(description, device);
  if (controller)
    throw new UsageError(
      `--device ${deviceName(device)}: it is behind the VMD controller ${controller.bdf}, and is there only while the driver vmd has that; give the controller with all that is behind it (--device ${controller.bdf}), or switch VMD off in the firmware`,
    );
  if (group.noIommu && kindOf(description.iommu.model).translates)
    throw new UsageError(`--device ${deviceName(device)}: it is in no IOMMU group, so VFIO cannot give it to a guest`);
}

/** The host as it must be for a guest to get these devices: their groups are VFIO's, and nothing else keeps them. */
export function givenAway(description: HostDescription, devices: readonly FoundDevice[]): HostDescription {
  return prepare(description, devices, [], []);
}

/** The host with the drivers and parameters that the guest needs. */
function prepare(
  description: HostDescription,
  devices: readonly FoundDevice[],
  notes: string[],
  conditions: string[],
): HostDescription {
  const groups = new Set(devices.map(({ group }) => group));
  /** By VMD controller: what goes away with its driver. */
  const behind = new Map<string, string[]>();
  const bind = (device: DeviceDescription, group: GroupDescription): DeviceDescription => {
    const wanted = devices.some((found) => found.device === device);
    if (wanted ? hasVfioDriver(device) : !isHostDriver(device.driver ?? undefined)) return device;
    const controller = vmdControllerOf(description, device);
    if (!wanted && controller) {
      behind.set(controller.bdf, [...(behind.get(controller.bdf) ?? []), deviceName(device)]);
      return { ...device, driver: null };
    }
    const now = device.driver === null ? "has no driver" : `is bound to ${device.driver}`;
    const bridge = device.bus === "pci" && isBridge(device);
    const what = bridge ? "unbind it" : "bind it to vfio-pci";
    const why = wanted ? "" : ` (it shares group ${group.id})`;
    notes.push(`${deviceName(device)} ${now}: ${what} before the guest starts${why}`);
    if (device.bus === "mdev") return { ...device, driver: "vfio_mdev" };
    return { ...device, driver: bridge ? null : "vfio-pci" };
  };
  const bound = description.groups.map((group) =>
    groups.has(group) ? { ...group, devices: group.devices.map((device) => bind(device, group)) } : group,
  );
  for (const [controller, names] of behind)
    notes.push(
      `${names.join(", ")}: behind the VMD controller ${controller}, they go to the guest with it; nothing is to be done with them`,
    );
  const release = new Release(description.kernel);
  const newer = releaseWarning(description.kernel);
  if (newer !== undefined) notes.push(newer);
  if (!release.has("validIovaEnforced"))
    notes.push(
      `kernel ${description.kernel} does not check IOVAs (from ${RANGES_SINCE} on it does): the mappings below succeed on it, and DMA into reserved regions goes astray`,
    );
  const unsafe =
    !description.modules.vfioIommuType1.allowUnsafeInterrupts &&
    [...groups].some((group) => hasIommu(group) && !(group.iommu ?? description.iommu).interruptRemapping);
  if (unsafe)
    conditions.push(
      "vfio_iommu_type1.allow_unsafe_interrupts is 1: this IOMMU does not remap interrupts, so a device could raise any of the host's",
    );
  const { modules } = description;
  return {
    ...description,
    kernel: release.has("validIovaEnforced") ? description.kernel : RANGES_SINCE,
    groups: bound,
    modules: unsafe
      ? { ...modules, vfioIommuType1: { ...modules.vfioIommuType1, allowUnsafeInterrupts: true } }
      : modules,
  };
}

/** What GET_INFO says with all groups in one container. @throws SystemCallError */
function ask(description: HostDescription, devices: readonly FoundDevice[]): ContainerAnswer {
  const transport = new ModelTransport(new Host(description));
  const container = Container.open(transport);
  for (const [index, id] of [...new Set(devices.map(({ group }) => group.id))].entries()) {
    Group.open(transport, id).setContainer(container);
    if (index === 0) container.setIommu(VFIO_TYPE1v2_IOMMU);
  }
  const { ranges, pageSizes, dmaAvail } = container.getInfo();
  const limited = description.vfioContainer === "type1" && new Release(description.kernel).has("dmaEntryLimit");
  const entryLimit = limited ? (dmaAvail ?? description.modules.vfioIommuType1.dmaEntryLimit) : undefined;
  transport.exit();
  const sizes = pageSizes ?? BigInt(description.pageSize);
  return {
    ...(ranges && { validRanges: ranges }),
    iommuPage: sizes & -sizes,
    ...(entryLimit !== undefined && { entryLimit }),
  };
}
