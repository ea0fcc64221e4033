import type { PciBar } from "../devices/description.ts";
import type { QemuDevice } from "../devices/kind.ts";
import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import type { IommuDescription, SpaprDescription } from "../iommu/description.ts";
import type { ReservedRegion } from "../iommu/group.ts";
import { kindOf } from "../iommu/kinds.ts";
import { defaultSpapr } from "../iommu/tce/kind.ts";
import { defaultRegions, mdevDevice, mergeRegions, type PciDeviceFacts, pciDevice } from "./describe.ts";
import type { DeviceDescription, GroupDescription, HostDescription, ModuleParameters } from "./host-description.ts";
import type { DeviceFile, GroupFile, HostFile, PciFile } from "./host-schema.ts";
import { type IommuBus, iommuBuses, qemuDevices } from "./qemu-command-line.ts";
import { withoutRefusedDrivers } from "./refused-driver.ts";
import { saidOf } from "./said-of-iommu.ts";
import { withVirtualFunctions } from "./virtual-functions.ts";
import { groupsWithoutIommu, VFIO_GROUP_NAME } from "./without-iommu.ts";
import { barsOfResources, rangeBetween, zpciFunction } from "./zpci.ts";
import { zpciConfig } from "./zpci-configs.ts";

/** The normal form of a file that has been checked: everything that it leaves open is filled in. */
export function completeHost(file: HostFile, kinds: DeviceKinds = DEVICE_KINDS): HostDescription {
  const kind = kindOf(file.iommu.model);
  const arch = file.arch ?? kind.usualArch;
  const pageSize = file.page_size ?? (arch === "ppc64le" ? 0x10000 : 0x1000);
  const vfioContainer = file.vfio_container ?? kind.defaults.container;
  const iommufd = file.iommufd ?? vfioContainer === "iommufd";
  const iommu = completeIommu(file, { arch, pageSize });
  const recorded = file.machine == null ? undefined : qemuDevices(file.qemu ?? "");
  const instances = file.machine == null ? [] : iommuBuses(file.qemu ?? "");
  const around = { iommu, arch, regions: defaultRegions(iommu, arch) };
  const groups = inBindingOrder(file.groups, recorded)
    .map((group) => completeGroup(group, around, recorded, kinds))
    .map((group) => behindItsIommu(group, iommu, instances));
  const alone = (file.devices ?? []).map((device) => completeDevice(device, { arch, iommu }, recorded, kinds));
  const host: HostDescription = {
    name: file.name ?? file.machine ?? "",
    description: file.description ?? "",
    kernel: file.kernel ?? "6.12",
    api: file.api ?? "mainline",
    arch,
    pageSize,
    vfioContainer,
    iommufd,
    iommu,
    modules: completeModules(file, iommufd),
    groups: withVirtualFunctions(groupsWithoutIommu(groups, alone)),
  };
  return withoutRefusedDrivers(host);
}

/**
 * The groups of a recorded machine in the order in which its devices were given to their drivers, which numbers the
 * nodes of VFIO: that of QEMU's command line. As they are where that does not name all of them.
 */
function inBindingOrder(groups: readonly GroupFile[], recorded: RecordedDevices | undefined): readonly GroupFile[] {
  const order = [...(recorded?.keys() ?? [])];
  const places = new Map<GroupFile, number>();
  for (const group of groups) {
    const named = (group.devices ?? []).flatMap(({ name }) => (name ? [order.indexOf(`d${name}`)] : []));
    if (named.length === 0 || named.includes(-1)) return groups;
    places.set(group, Math.min(...named));
  }
  return [...groups].sort((a, b) => places.get(a)! - places.get(b)!);
}

/** A recorded machine with several IOMMUs says on its command line which buses each has. */
function behindItsIommu(
  group: GroupDescription,
  host: IommuDescription,
  instances: readonly IommuBus[],
): GroupDescription {
  const [device] = group.devices;
  if (instances.length === 0 || device?.bus !== "pci") return group;
  const bus = Number.parseInt(device.bdf.slice(device.bdf.indexOf(":") + 1), 16);
  const instance = instances.findLast(({ firstBus }) => firstBus <= bus)?.instance ?? 0;
  return instance === 0 ? group : { ...group, iommu: { ...(group.iommu ?? host), instance } };
}

/** Devices of the QEMU that a recording was made in, by id. */
type RecordedDevices = ReadonlyMap<string, QemuDevice>;

/** The device "N" of a recording is QEMU's "dN". */
function recordedOptions(file: PciFile, recorded: RecordedDevices | undefined, kinds: DeviceKinds) {
  const device = file.name == null ? undefined : recorded?.get(`d${file.name}`);
  if (!device) return undefined;
  const kind = file.model == null ? kinds.kindOfIds(file.id.vendor, file.id.device) : kinds.pciKind(file.model);
  return kind.recordedOptions?.(device);
}

function completeIommu(file: HostFile, host: Pick<HostDescription, "arch" | "pageSize">): IommuDescription {
  const { iommu } = file;
  const { model } = iommu;
  const { defaults, describe } = kindOf(model);
  const spapr = defaults.container === "spapr" ? completeSpapr(iommu) : undefined;
  const aperture = spapr ? spaprAperture(spapr) : defaults.aperture;
  // On a recorded machine whose container is iommufd's, GET_INFO was asked before anything was attached, and then
  // describes an empty address space and not the IOMMU: all page sizes, one range of all 64 bits, coherent (FINDINGS on
  // intel39-k72c).
  const unattached = file.machine != null && file.vfio_container === "iommufd";
  const seen = unattached ? undefined : iommu.iova_ranges_first_seen?.at(-1)?.[1];
  return {
    model,
    apertureStart: iommu.aperture_start ?? aperture.start,
    apertureLast:
      iommu.aperture_end ??
      (iommu.address_bits == null ? undefined : defaults.lastOfBits(iommu.address_bits)) ??
      // The last valid range ends where the aperture does unless a reserved region lies right there, which none of the
      // models has; amd-ivmd and smmuv3 say no address_bits, their ranges do.
      seen ??
      aperture.last,
    pageSizes: (unattached ? undefined : iommu.page_sizes) ?? defaults.pageSizes(host.pageSize, spapr?.platform),
    cacheCoherent: (unattached ? undefined : iommu.cache_coherent) ?? defaults.cacheCoherent,
    interruptRemapping: iommu.interrupt_remapping ?? defaults.interruptRemapping(host.arch),
    ...(iommu.nesting && { nesting: true as const }),
    ...(iommu.dirty_tracking && { dirtyTracking: true }),
    ...registersOf(iommu),
    ...(spapr && { spapr }),
    ...describe?.(saidOf(iommu)),
  };
}

/** VT-d's registers, where a capture has both. */
function registersOf({ vtd_cap: cap, vtd_ecap: ecap }: HostFile["iommu"]): Pick<IommuDescription, "registers"> {
  return cap == null || ecap == null ? {} : { registers: { cap, ecap } };
}

function completeSpapr(iommu: HostFile["iommu"]): SpaprDescription {
  const defaults = defaultSpapr(iommu.platform ?? "pseries");
  return {
    platform: defaults.platform,
    dma32WindowStart: iommu.dma32_window_start ?? defaults.dma32WindowStart,
    dma32WindowSize: iommu.dma32_window_size ?? defaults.dma32WindowSize,
    maxDynamicWindows: iommu.max_dynamic_windows ?? defaults.maxDynamicWindows,
    levels: iommu.levels ?? defaults.levels,
  };
}

/** The 32-bit window: what a container can map without making windows. */
function spaprAperture(spapr: SpaprDescription): { readonly start: bigint; readonly last: bigint } {
  return { start: spapr.dma32WindowStart, last: spapr.dma32WindowStart + spapr.dma32WindowSize - 1n };
}

function completeModules(file: HostFile, iommufd: boolean): ModuleParameters {
  const { vfio, vfio_iommu_type1: type1, iommufd: iommufdModule } = file.modules ?? {};
  const commandLine = file.kernel_command_line ?? "";
  const flag = (module: string, options: ReadonlyMap<string, string> | null | undefined, name: string) => {
    const fromCommandLine = new RegExp(`(?:^|\\s)${module}\\.${name}(?:=(\\S*))?(?=\\s|$)`).exec(commandLine);
    const text = options?.get(name) ?? (fromCommandLine ? (fromCommandLine[1] ?? "") : undefined);
    return text === undefined ? undefined : isYes(text);
  };
  const noiommu =
    vfio?.enable_unsafe_noiommu_mode === null
      ? undefined
      : (vfio?.enable_unsafe_noiommu_mode ??
        flag("vfio", vfio?.options, "enable_unsafe_noiommu_mode") ??
        // The kernels with iommufd were recorded with the parameter, distributions' kernels without (g_noiommu_absent).
        (iommufd ? false : undefined));
  const limit = type1?.options?.get("dma_entry_limit");
  return {
    vfio: noiommu === undefined ? {} : { enableUnsafeNoiommuMode: noiommu },
    vfioIommuType1: {
      dmaEntryLimit: type1?.dma_entry_limit ?? (limit === undefined ? 65535 : Number(limit)),
      allowUnsafeInterrupts:
        type1?.allow_unsafe_interrupts ?? flag("vfio_iommu_type1", type1?.options, "allow_unsafe_interrupts") ?? false,
      disableHugepages:
        type1?.disable_hugepages ?? flag("vfio_iommu_type1", type1?.options, "disable_hugepages") ?? false,
    },
    ...completeVfioPci(file.modules?.vfio_pci, flag),
    iommufd: {
      allowUnsafeInterrupts:
        iommufdModule?.allow_unsafe_interrupts ??
        flag("iommufd", iommufdModule?.options, "allow_unsafe_interrupts") ??
        false,
    },
  };
}

type VfioPciFile = NonNullable<HostFile["modules"]>["vfio_pci"];

function completeVfioPci(
  file: VfioPciFile,
  flag: (module: string, options: ReadonlyMap<string, string> | null | undefined, name: string) => boolean | undefined,
): Pick<ModuleParameters, "vfioPci"> {
  const disableVga = file?.disable_vga ?? flag("vfio_pci", file?.options, "disable_vga");
  const described = {
    ...(file?.vga != null && { vga: file.vga }),
    ...(disableVga !== undefined && { disableVga }),
    ...(file?.dma_buf != null && { dmaBuf: file.dma_buf }),
  };
  return Object.keys(described).length === 0 ? {} : { vfioPci: described };
}

/** kstrtobool(); a parameter without a value is set. */
function isYes(text: string): boolean {
  return text === "" || /^([yYtT1]|[oO][nN])/.test(text);
}

/** @param host its regions are those of its groups that say nothing else */
function completeGroup(
  file: GroupFile,
  host: Pick<HostDescription, "arch" | "iommu"> & { readonly regions: readonly ReservedRegion[] },
  recorded: RecordedDevices | undefined,
  kinds: DeviceKinds,
): GroupDescription {
  const kind = kindOf(host.iommu.model);
  const regions = file.reserved_regions?.map(completeRegion);
  const iommu = groupIommu(file, regions, host.iommu);
  const around = { arch: host.arch, iommu: iommu ?? host.iommu };
  const devices = (file.devices ?? []).map((device) => completeDevice(device, around, recorded, kinds));
  const usual = () => (iommu ? defaultRegions(iommu, host.arch) : host.regions);
  // A group that VFIO made itself: no IOMMU stands behind it.
  const isEmulated = devices.length > 0 && devices.every((device) => device.bus === "mdev" && !device.iommuBacked);
  const noIommu = !isEmulated && (!kind.translates || file.name === VFIO_GROUP_NAME);
  const madeByVfio = noIommu || isEmulated;
  const name = file.name ?? (madeByVfio ? VFIO_GROUP_NAME : undefined);
  return {
    id: file.id,
    type: file.type ?? (madeByVfio ? "unknown" : kind.defaults.groupType),
    ...(name !== undefined && { name }),
    ...(noIommu && { noIommu }),
    ...(iommu && { iommu }),
    reservedRegions: withRegionsOf(devices, regions ? mergeRegions(regions) : madeByVfio ? [] : usual()),
    devices,
  };
}

function withRegionsOf(
  devices: readonly DeviceDescription[],
  regions: readonly ReservedRegion[],
): readonly ReservedRegion[] {
  const has = (device: DeviceDescription) => device.bus === "pci" && device.reservedRegions.length > 0;
  if (!devices.some(has)) return regions;
  return mergeRegions(regions, ...devices.map((device) => (device.bus === "pci" ? device.reservedRegions : [])));
}

/**
 * The IOMMU of a group that has one of its own. A recording's regions tell what devices' ranges are, where such ranges
 * are shown as regions.
 */
function groupIommu(
  file: GroupFile,
  regions: readonly ReservedRegion[] | undefined,
  host: IommuDescription,
): IommuDescription | undefined {
  if (file.iommu != null) return ownIommu(file.iommu, host);
  const { geometry } = kindOf(host.model);
  if (!geometry || !regions) return undefined;
  const { start, last } = rangeBetween(regions, geometry);
  if (start > last || (start === host.apertureStart && last === host.apertureLast)) return undefined;
  return { ...host, apertureStart: start, apertureLast: last };
}

/** A group's own IOMMU: the host's, but for what is said. */
function ownIommu(file: NonNullable<GroupFile["iommu"]>, host: IommuDescription): IommuDescription {
  const ofBits = file.address_bits == null ? undefined : kindOf(host.model).defaults.lastOfBits(file.address_bits);
  return {
    ...host,
    apertureStart: file.aperture_start ?? host.apertureStart,
    apertureLast: file.aperture_end ?? ofBits ?? host.apertureLast,
    pageSizes: file.page_sizes ?? host.pageSizes,
    cacheCoherent: file.cache_coherent ?? host.cacheCoherent,
    interruptRemapping: file.interrupt_remapping ?? host.interruptRemapping,
    ...(file.dirty_tracking != null && { dirtyTracking: file.dirty_tracking }),
    ...(file.instance != null && { instance: file.instance }),
  };
}

function completeRegion(file: {
  readonly start: bigint;
  readonly end: bigint;
  readonly type: ReservedRegion["type"];
}): ReservedRegion {
  return { start: file.start, last: file.end, type: file.type };
}

const LITTLE = new Set(["bdf", "id", "name", "bus", "driver"]);

/** As most devices of large hosts do. */
function saysLittle(file: PciFile): boolean {
  for (const key in file) if (!LITTLE.has(key)) return false;
  return true;
}

const NO_REGIONS: readonly ReservedRegion[] = [];

function completeDevice(
  file: DeviceFile,
  around: Pick<HostDescription, "arch" | "iommu">,
  recorded: RecordedDevices | undefined,
  kinds: DeviceKinds,
): DeviceDescription {
  const name = file.name ?? undefined;
  const driver = file.driver === "" ? null : (file.driver ?? undefined);
  const model = file.model ?? undefined;
  if ("uuid" in file) {
    const { uuid, parent, type } = file;
    const options = file.options ?? undefined;
    const iommuBacked = file.iommu_backed ?? undefined;
    return mdevDevice({ name, driver, model, options, uuid, parent, type, iommuBacked }, kinds);
  }
  const zpci = around.arch === "s390x" ? zpciFacts(file, around.iommu) : undefined;
  if (!zpci && !recorded && saysLittle(file))
    return pciDevice({ name, driver, bdf: file.bdf, vendor: file.id.vendor, device: file.id.device }, kinds);
  const facts = {
    name,
    driver,
    model,
    zpci: zpci?.zpci,
    bdf: file.bdf,
    vendor: file.id.vendor,
    device: file.id.device,
    class: file.class ?? undefined,
    revision: file.revision ?? undefined,
    subsystemVendor: file.subsystem_id?.vendor,
    subsystemDevice: file.subsystem_id?.device,
    // the recorded kernels let every memory BAR be mapped
    mmap: file.mmap ?? (recorded ? true : undefined),
    // and had no drivers that migrate
    migration: falseOnly(file.migration) ?? (recorded ? false : undefined),
    options: file.options ?? recordedOptions(file, recorded, kinds),
    config: file.config ?? zpci?.config,
    bars: file.bars ? file.bars.map(completeBar).sort((a, b) => a.index - b.index) : zpci?.bars,
    // config space that is known from the id tells it, though firmware of s390 shows no extended part
    pcie: zpci?.config ? undefined : (file.pcie ?? undefined),
    physfn: file.physfn ?? undefined,
    sriovTotalVfs: file.sriov_totalvfs ?? undefined,
    irq: file.irq ?? undefined,
    irqSharedWith: file.irq_shared_with ?? undefined,
    intxMasking: falseOnly(file.intx_masking),
    cacheCoherent: falseOnly(file.cache_coherent),
    rom: file.rom ?? undefined,
    secondaryBus: file.secondary_bus ?? undefined,
    numaNode: file.numa_node ?? undefined,
    translation:
      file.pasid || file.ats || file.pri
        ? { pasid: file.pasid ?? false, ats: file.ats ?? false, pri: file.pri ?? false }
        : undefined,
    reservedRegions: file.reserved_regions ? mergeRegions(file.reserved_regions.map(completeRegion)) : NO_REGIONS,
  };
  return pciDevice(facts, kinds);
}

/** What a function of s390 has beyond others: what firmware says of it, and what a guest sees of QEMU's devices. */
function zpciFacts(file: PciFile, dma: IommuDescription): Pick<PciDeviceFacts, "zpci" | "config" | "bars"> {
  const resource = file.resource ?? undefined;
  return {
    zpci: { ...zpciFunction(file.bdf, dma, file.zpci ?? undefined), ...(resource && { resource }) },
    config: zpciConfig(file.id),
    bars: resource && barsOfResources(resource),
  };
}

type BarFile = NonNullable<Exclude<DeviceFile, { uuid: string }>["bars"]>[number];

function completeBar({ index, size, type, claimed_by: claimedBy }: BarFile): PciBar {
  return { index, size, type, ...(claimedBy != null && { claimedBy }) };
}

function falseOnly(value: boolean | null | undefined): false | undefined {
  return value === false ? false : undefined;
}
