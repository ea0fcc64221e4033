import type { MediatedKind, PciDeviceKind } from "../devices/kind.ts";
import type { DeviceKinds } from "../devices/kinds.ts";
import { readOptions } from "../devices/options.ts";
import type { IommuKind } from "../iommu/kind.ts";
import { iommuKinds, kindOf } from "../iommu/kinds.ts";
import { isLittleEndian } from "../kernel/arch.ts";
import { hexRange } from "../kernel/errors.ts";
import { devicePlaces, functionProblems, hasDevice } from "./check-functions.ts";
import { pciFactProblems } from "./check-pci-facts.ts";
import type { FieldPath, Problem } from "./host-fields.ts";
import type { DeviceFile, GroupFile, HostFile } from "./host-schema.ts";
import { refuseApi, refuseKernel } from "./kernel-fits.ts";
import { saidOf } from "./said-of-iommu.ts";

type PciDeviceFile = Exclude<DeviceFile, { uuid: string }>;
type RegionFile = NonNullable<GroupFile["reserved_regions"]>[number];

/** What is wrong with a file although every value by itself is fine: values that contradict each other. */
export function checkHost(file: HostFile, kinds: DeviceKinds): readonly Problem[] {
  return [
    ...namedHost(file),
    ...kernelProblems(file),
    ...iommuProblems(file),
    ...groupProblems(file, kinds),
    ...parentProblems(file),
    ...functionProblems(file),
  ];
}

function* kernelProblems({ kernel, api, iommu, vfio_container: container, groups }: HostFile): Generator<Problem> {
  if (kernel == null) return;
  const hasMediatedDevices = groups.some(({ devices }) => devices?.some(isMediated));
  const message = refuseKernel({ kernel, model: iommu.model, api, container, hasMediatedDevices });
  if (message !== undefined) yield { path: ["kernel"], message };
}

function* namedHost(file: HostFile): Generator<Problem> {
  if (file.name == null && file.machine == null) yield { path: ["name"], message: "missing", missing: true };
}

function* iommuProblems({ iommu, arch, api, vfio_container, iommufd }: HostFile): Generator<Problem> {
  const start = iommu.aperture_start ?? 0n;
  if (iommu.aperture_end != null && start > iommu.aperture_end)
    yield {
      path: ["iommu", "aperture_end"],
      message: `the aperture ends before it starts (${hexRange(start, iommu.aperture_end)})`,
    };
  const kind = kindOf(iommu.model);
  for (const other of iommuKinds())
    for (const key of other.ownKeys as readonly (keyof typeof iommu)[])
      if (iommu[key] != null && !kind.ownKeys.includes(key))
        yield { path: ["iommu"], key, message: `only an ${other.model} IOMMU has this` };
  if (iommu.nesting && !kind.makeNesting)
    yield {
      path: ["iommu", "nesting"],
      message: `${iommu.model} does not nest; these do: ${names(({ makeNesting }) => makeNesting !== undefined)}`,
    };
  const cannotTrack = dirtyTrackingProblem(iommu.model, iommu.nesting ?? false);
  if (iommu.dirty_tracking && cannotTrack) yield { path: ["iommu", "dirty_tracking"], message: cannotTrack };
  const contradiction = kind.contradiction?.(saidOf(iommu));
  if (contradiction) yield { path: ["iommu", contradiction[0]], message: contradiction[1] };
  if (iommu.page_sizes === 0n && kind.translates)
    yield { path: ["iommu", "page_sizes"], message: "an IOMMU has at least one page size" };
  if (vfio_container === "spapr" && kind.defaults.container !== "spapr")
    yield {
      path: ["vfio_container"],
      message: `spapr needs an ${names(({ defaults }) => defaults.container === "spapr")} IOMMU, not ${iommu.model}`,
    };
  if (api != null && api !== "mainline" && !isLittleEndian(arch ?? kind.usualArch))
    yield { path: ["api"], message: `${api} was proposed for little-endian machines; an s390x host speaks mainline` };
  const cannot = refuseApi(api, iommu.model, iommu.nesting ?? false);
  if (cannot !== undefined) yield { path: ["api"], message: cannot };
  if (vfio_container === "iommufd" && iommufd === false)
    yield { path: ["iommufd"], message: "vfio_container is iommufd, so iommufd cannot be false" };
}

/** Why an IOMMU cannot have `dirty_tracking`; undefined when it can. */
function dirtyTrackingProblem(model: string, nesting: boolean): string | undefined {
  const { tracksDirtyPages } = kindOf(model);
  if (tracksDirtyPages === "yes" || (tracksDirtyPages === "when nesting" && nesting)) return undefined;
  const always = names((kind) => kind.tracksDirtyPages === "yes");
  return `${model} has no dirty tracking; ${always}, and ${names((kind) => kind.tracksDirtyPages === "when nesting")} with nesting can have it`;
}

function names(which: (kind: IommuKind) => boolean): string {
  return iommuKinds()
    .filter(which)
    .map(({ model }) => model)
    .join(", ");
}

function* groupProblems(file: HostFile, kinds: DeviceKinds): Generator<Problem> {
  const groupOf = new Map<number, number>();
  const known = new Map<string, DeviceFile>();
  for (let index = 0; index < file.groups.length; index++) {
    const group = file.groups[index]!;
    const path = ["groups", index];
    const other = groupOf.get(group.id);
    if (other !== undefined) yield { path: [...path, "id"], message: `group ${group.id} is groups[${other}] already` };
    groupOf.set(group.id, index);
    const cannotTrack = group.iommu?.dirty_tracking
      ? dirtyTrackingProblem(file.iommu.model, file.iommu.nesting ?? false)
      : undefined;
    if (cannotTrack) yield { path: [...path, "iommu", "dirty_tracking"], message: cannotTrack };
    const devices = group.devices ?? [];
    if (group.reserved_regions || devices.some(hasRegions)) yield* regionProblems(group, path);
    if (devices.some(isZpci)) yield* zpciProblems(file, group, path);
    for (let position = 0; position < devices.length; position++) {
      const device = devices[position]!;
      const name = deviceName(device);
      const sameName = known.get(name);
      known.set(name, device);
      const isWithoutIommu = "uuid" in device && !device.iommu_backed && devices.length > 1;
      if (sameName === undefined && !isWithoutIommu && isPlain(device, kinds)) continue;
      const devicePath = [...path, "devices", position];
      const namePath = [...devicePath, "uuid" in device ? "uuid" : "bdf"];
      if (sameName) yield { path: namePath, message: `${name} is ${placeOf(file, sameName)} already` };
      yield* deviceProblems(device, devicePath, kinds);
      if (isWithoutIommu)
        yield {
          path: namePath,
          message: `${name} has no IOMMU backing, so it must be alone in its group (or say iommu_backed: true)`,
        };
    }
  }
  yield* aloneProblems(file, known, kinds);
}

/** What a device says that cannot contradict anything else. */
const BY_THEMSELVES = new Set(["bdf", "id", "name", "bus", "driver", "revision", "subsystem_id", "mmap", "numa_node"]);

/** Most devices of large hosts are, and need no further look. */
function isPlain(device: DeviceFile, kinds: DeviceKinds): boolean {
  for (const key in device) if (!BY_THEMSELVES.has(key)) return false;
  return !("uuid" in device) && readOptions(pciKind(device, kinds), undefined).problems.length === 0;
}

function placeOf({ groups, devices: alone }: HostFile, device: DeviceFile): string {
  const index = groups.findIndex(({ devices }) => devices?.includes(device));
  if (index < 0) return `devices[${alone!.indexOf(device)}]`;
  return `groups[${index}].devices[${groups[index]!.devices!.indexOf(device)}]`;
}

function* deviceProblems(device: DeviceFile, path: FieldPath, kinds: DeviceKinds): Generator<Problem> {
  yield* optionProblems(device, path, kinds);
  if ("uuid" in device) return;
  yield* pciProblems(device, path, kinds);
  yield* pciFactProblems(device, path);
}

/** Devices in no group: as those in one, and they are PCI devices. */
function* aloneProblems(file: HostFile, known: Map<string, DeviceFile>, kinds: DeviceKinds): Generator<Problem> {
  for (const [position, device] of (file.devices ?? []).entries()) {
    const path = ["devices", position];
    const name = deviceName(device);
    const sameName = known.get(name);
    if ("uuid" in device) {
      yield {
        path: [...path, "uuid"],
        message: `${name} is a mediated device: VFIO makes a group for it, so it is in one`,
      };
      continue;
    }
    if (sameName) yield { path: [...path, "bdf"], message: `${name} is ${placeOf(file, sameName)} already` };
    known.set(name, device);
    yield* deviceProblems(device, path, kinds);
  }
}

function* optionProblems(device: DeviceFile, path: FieldPath, kinds: DeviceKinds): Generator<Problem> {
  const kind = "uuid" in device ? mediatedKind(device, kinds) : pciKind(device, kinds);
  for (const { option, isUnknown, message } of readOptions(kind, device.options ?? undefined).problems) {
    const at = [...path, "options"];
    if (option === undefined) yield { path: at, message };
    else if (isUnknown) yield { path: at, key: option, message };
    else yield { path: [...at, option], message };
  }
}

/** What only functions of s390 have. */
function* zpciProblems({ arch, iommu }: HostFile, { devices }: GroupFile, path: FieldPath): Generator<Problem> {
  const isZpci = (arch ?? kindOf(iommu.model).usualArch) === "s390x";
  for (const [position, device] of (devices ?? []).entries())
    if (!isZpci && !("uuid" in device) && device.zpci)
      yield { path: [...path, "devices", position, "zpci"], message: "only functions of arch s390x have this" };
}

function* pciProblems(device: PciDeviceFile, path: FieldPath, kinds: DeviceKinds): Generator<Problem> {
  const { config, id } = device;
  if (config) {
    const vendor = config[0]! | (config[1]! << 8);
    const deviceId = config[2]! | (config[3]! << 8);
    // a virtual function's has none (Single Root I/O Virtualization specification, 3.4.1.1)
    const isAbsent = vendor === 0xffff && deviceId === 0xffff;
    if (!isAbsent && (vendor !== id.vendor || deviceId !== id.device))
      yield {
        path: [...path, "config"],
        message: `begins with the ids ${hex4(vendor)}:${hex4(deviceId)}, not ${hex4(id.vendor)}:${hex4(id.device)}`,
      };
  }
  for (const key of ["pasid", "ats", "pri"] as const) {
    if (!device[key]) continue;
    if (!pciKind(device, kinds).translates)
      yield { path: [...path, key], message: `only the model ${translatingModels(kinds)} has registers for this` };
    else if (config) yield { path: [...path, key], message: "with `config`, its bytes say what the device has" };
  }
  if (device.pri && !device.ats)
    yield { path: [...path, "pri"], message: "page requests go with translations of its own: add ats: true" };
  const taken = new Set<number>();
  for (const [index, bar] of (device.bars ?? []).entries()) {
    const indices = bar.type === "memory64" ? [bar.index, bar.index + 1] : [bar.index];
    if ((bar.index === 6) !== (bar.type === "rom"))
      yield { path: [...path, "bars", index, "type"], message: "index 6, and only that, is the rom" };
    else if (bar.type === "memory64" && bar.index === 5)
      yield { path: [...path, "bars", index, "index"], message: "a memory64 BAR takes two, and there is none after 5" };
    else if (indices.some((taking) => taken.has(taking)))
      yield { path: [...path, "bars", index, "index"], message: `BAR ${bar.index} is taken already` };
    for (const taking of indices) taken.add(taking);
  }
}

/** Each region by itself, then every pair: of the group and, together with it, of its devices. */
function* regionProblems(group: GroupFile, path: FieldPath): Generator<Problem> {
  const regions: { readonly region: RegionFile; readonly path: FieldPath; readonly list: FieldPath }[] = [];
  const collect = (list: readonly RegionFile[] | null | undefined, listPath: FieldPath) => {
    for (const [index, region] of (list ?? []).entries())
      regions.push({ region, path: [...listPath, index], list: listPath });
  };
  collect(group.reserved_regions, [...path, "reserved_regions"]);
  for (const [index, device] of (group.devices ?? []).entries())
    if (!("uuid" in device)) collect(device.reserved_regions, [...path, "devices", index, "reserved_regions"]);

  for (const [index, { region, path: regionPath, list }] of regions.entries()) {
    if (region.start > region.end) {
      yield {
        path: [...regionPath, "end"],
        message: `the region ends before it starts (${hexRange(region.start, region.end)})`,
      };
      continue;
    }
    for (const earlier of regions.slice(0, index)) {
      const overlap = region.start <= earlier.region.end && earlier.region.start <= region.end;
      // Devices of one group may each report the same region, and the group's list may repeat theirs.
      const same =
        list !== earlier.list &&
        region.start === earlier.region.start &&
        region.end === earlier.region.end &&
        region.type === earlier.region.type;
      if (overlap && !same)
        yield {
          path: [...regionPath, "start"],
          message:
            `${hexRange(region.start, region.end)} (${region.type}) overlaps ` +
            `${hexRange(earlier.region.start, earlier.region.end)} (${earlier.region.type})`,
        };
    }
  }
}

function isMediated(device: DeviceFile): boolean {
  return "uuid" in device;
}

function hasRegions(device: DeviceFile): boolean {
  return !isMediated(device) && (device as PciDeviceFile).reserved_regions != null;
}

function isZpci(device: DeviceFile): boolean {
  return !isMediated(device) && (device as PciDeviceFile).zpci != null;
}

function* parentProblems(file: HostFile): Generator<Problem> {
  if (!hasDevice(file, isMediated)) return;
  const places = devicePlaces(file);
  const pci = new Set(places.flatMap(({ device }) => ("uuid" in device ? [] : [device.bdf])));
  for (const { device, path } of places)
    if ("uuid" in device && !pci.has(device.parent))
      yield { path: [...path, "parent"], message: `no PCI device ${device.parent} in this file` };
}

function deviceName(device: DeviceFile): string {
  return "uuid" in device ? device.uuid : device.bdf;
}

function pciKind({ model, id }: PciDeviceFile, kinds: DeviceKinds): PciDeviceKind {
  return model == null ? kinds.kindOfIds(id.vendor, id.device) : kinds.pciKind(model);
}

function mediatedKind({ model, type }: Extract<DeviceFile, { uuid: string }>, kinds: DeviceKinds): MediatedKind {
  return model == null ? kinds.kindOfType(type) : kinds.mediatedKind(model);
}

function translatingModels(kinds: DeviceKinds): string {
  return kinds.pci
    .filter(({ translates }) => translates)
    .map(({ model }) => model)
    .join(" or ");
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}
