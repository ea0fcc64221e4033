import type { PciBar, ZpciDescription } from "../devices/description.ts";
import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import type { DeviceOptions, OptionSchema, OptionValue } from "../devices/options.ts";
import type { IommuDescription, SmmuRegisters } from "../iommu/description.ts";
import type { ReservedRegion } from "../iommu/group.ts";
import { IOMMU_MODELS } from "../iommu/kinds.ts";
import type {
  DeviceDescription,
  GroupDescription,
  HostDescription,
  MdevDeviceDescription,
  ModuleParameters,
  PciDeviceDescription,
} from "./host-description.ts";
import { wantedDriver } from "./refused-driver.ts";

/** Digits of config space in one line: 64 bytes. */
const CONFIG_LINE = 128;

/**
 * The host as a host file: every field, with comments, and parseHost() makes the same description of it again.
 * @param kinds of devices that it names
 */
export function toYaml(host: HostDescription, kinds: DeviceKinds = DEVICE_KINDS): string {
  return `${[...head(host), ...iommu(host), ...modules(host), ...groups(host, kinds)].join("\n")}\n`;
}

function head(host: HostDescription): string[] {
  return [
    `# A host for uvfio: run programs on it with  uvfio run -m FILE -- PROGRAM`,
    "# Fields that are left out get defaults; what is said here is all there is.",
    `name: ${text(host.name)}`,
    ...(host.description === "" ? [] : [`description: ${text(host.description)}`]),
    "",
    "# The kernel release, and whose meaning the request numbers have (mainline, vsva-v1, vsva-v7, rfc-2017).",
    `kernel: ${text(host.kernel)}`,
    `api: ${host.api}`,
    "# x86_64, arm64, ppc64le or s390x; the kernel's page size in bytes.",
    `arch: ${host.arch}`,
    `page_size: ${host.pageSize}`,
    "# What answers on /dev/vfio/vfio (type1, spapr, iommufd), and whether there is a /dev/iommu.",
    `vfio_container: ${host.vfioContainer}`,
    `iommufd: ${host.iommufd}`,
  ];
}

function iommu({ iommu: unit }: HostDescription): string[] {
  const { spapr } = unit;
  return [
    "",
    "iommu:",
    `  # ${IOMMU_MODELS.slice(0, -1).join(", ")} or ${IOMMU_MODELS.at(-1)}`,
    `  model: ${unit.model}`,
    "  # First and last IOVA that it translates; instead of the last one: address_bits.",
    `  aperture_start: ${hex(unit.apertureStart)}`,
    `  aperture_end: ${hex(unit.apertureLast)}`,
    "  # A bitmap: bit 12 stands for 4 KiB pages, bit 21 for 2 MiB.",
    `  page_sizes: ${hex(unit.pageSizes)}`,
    `  cache_coherent: ${unit.cacheCoherent}`,
    "  # Without it VFIO wants allow_unsafe_interrupts.",
    `  interrupt_remapping: ${unit.interruptRemapping}`,
    ...dirtyTrackingLines(unit),
    ...(unit.registers
      ? [
          "  # Its registers as intel-iommu shows them; /sys and IOMMU_GET_HW_INFO show the same.",
          `  vtd_cap: ${hex(unit.registers.cap)}`,
          `  vtd_ecap: ${hex(unit.registers.ecap)}`,
        ]
      : []),
    ...(unit.smmu ? smmuLines(unit.smmu) : []),
    ...(unit.nesting
      ? [
          "  # Second-stage tables too, and first-stage ones nested on them; PASIDs, ATS, page requests.",
          "  nesting: true",
        ]
      : []),
    ...(spapr
      ? [
          "  # powernv8, powernv9, powernv10 or pseries, and what it says about its windows.",
          `  platform: ${spapr.platform}`,
          `  dma32_window_start: ${hex(spapr.dma32WindowStart)}`,
          `  dma32_window_size: ${hex(spapr.dma32WindowSize)}`,
          `  max_dynamic_windows: ${spapr.maxDynamicWindows}`,
          `  levels: ${spapr.levels}`,
        ]
      : []),
  ];
}

function smmuLines({ idr, iidr, aidr, coherentWriteBack }: SmmuRegisters): string[] {
  return [
    "  # Its ID registers, as IOMMU_GET_HW_INFO shows them.",
    `  hw_info: { idr: [${idr.map(hex).join(", ")}], iidr: ${hex(iidr)}, aidr: ${hex(aidr)} }`,
    "  # Devices' accesses are always written back to caches (CANWBS in ACPI's IORT).",
    `  canwbs: ${coherentWriteBack}`,
  ];
}

function vfioPciLines({ vfioPci }: ModuleParameters): string[] {
  if (!vfioPci) return [];
  return [
    "  vfio_pci:",
    ...(vfioPci.vga === undefined ? [] : ["    # CONFIG_VFIO_PCI_VGA", `    vga: ${vfioPci.vga}`]),
    ...(vfioPci.dmaBuf === undefined ? [] : ["    # CONFIG_VFIO_PCI_DMABUF", `    dma_buf: ${vfioPci.dmaBuf}`]),
    ...(vfioPci.disableVga === undefined ? [] : [`    disable_vga: ${vfioPci.disableVga}`]),
  ];
}

function modules({ modules }: HostDescription): string[] {
  const { vfio, vfioIommuType1, iommufd } = modules;
  return [
    "",
    "# Module parameters at boot.",
    "modules:",
    "  vfio:",
    "    # null: the kernel is built without no-IOMMU mode.",
    `    enable_unsafe_noiommu_mode: ${vfio.enableUnsafeNoiommuMode ?? null}`,
    "  vfio_iommu_type1:",
    "    # Mappings that a container may have.",
    `    dma_entry_limit: ${vfioIommuType1.dmaEntryLimit}`,
    `    allow_unsafe_interrupts: ${vfioIommuType1.allowUnsafeInterrupts}`,
    `    disable_hugepages: ${vfioIommuType1.disableHugepages}`,
    ...vfioPciLines(modules),
    "  iommufd:",
    `    allow_unsafe_interrupts: ${iommufd.allowUnsafeInterrupts}`,
  ];
}

function groups(host: HostDescription, kinds: DeviceKinds): string[] {
  if (host.groups.length === 0) return ["", "groups: []"];
  return [
    "",
    "# IOMMU groups: id is the number in /dev/vfio. Reserved regions: first and last byte; direct, direct-relaxable, msi or reserved.",
    "groups:",
    ...host.groups.flatMap((group, index) => [...(index === 0 ? [] : [""]), ...entry("  ", groupLines(group, kinds))]),
  ];
}

function groupLines(group: GroupDescription, kinds: DeviceKinds): string[] {
  return [
    `id: ${group.id}`,
    `type: ${text(group.type)}`,
    ...(group.name === undefined ? [] : [`name: ${text(group.name)}`]),
    ...(group.iommu === undefined ? [] : ["iommu:", ...ownIommuLines(group.iommu)]),
    ...regionLines(group.reservedRegions),
    ...(group.devices.length === 0 ? ["devices: []"] : ["devices:"]),
    ...group.devices.flatMap((device) => entry("  ", deviceLines(device, kinds))),
  ];
}

/** Where a group has an IOMMU of its own. */
function ownIommuLines(unit: IommuDescription): string[] {
  return [
    `  aperture_start: ${hex(unit.apertureStart)}`,
    `  aperture_end: ${hex(unit.apertureLast)}`,
    `  page_sizes: ${hex(unit.pageSizes)}`,
    `  cache_coherent: ${unit.cacheCoherent}`,
    `  interrupt_remapping: ${unit.interruptRemapping}`,
    ...dirtyTrackingLines(unit),
    ...(unit.instance === undefined
      ? []
      : ["  # Which of several that share no page tables.", `  instance: ${unit.instance}`]),
  ];
}

function dirtyTrackingLines({ dirtyTracking }: IommuDescription): string[] {
  if (dirtyTracking === undefined) return [];
  return [
    "  # Whether it notes which pages devices write (IOMMU_HWPT_ALLOC_DIRTY_TRACKING).",
    `  dirty_tracking: ${dirtyTracking}`,
  ];
}

function regionLines(regions: readonly ReservedRegion[]): string[] {
  if (regions.length === 0) return ["reserved_regions: []"];
  return [
    "reserved_regions:",
    ...regions.map(({ start, last, type }) => `  - { start: ${hex(start)}, end: ${hex(last)}, type: ${type} }`),
  ];
}

function deviceLines(device: DeviceDescription, kinds: DeviceKinds): string[] {
  return device.bus === "pci" ? pciLines(device, kinds) : mdevLines(device, kinds);
}

function pciLines(device: PciDeviceDescription, kinds: DeviceKinds): string[] {
  return [
    `bdf: ${text(device.bdf)}`,
    ...nameLines(device.name),
    `id: ${text(`${hexDigits(device.vendor, 4)}:${hexDigits(device.device, 4)}`)}`,
    `class: 0x${hexDigits(device.class, 6)}`,
    `revision: 0x${hexDigits(device.revision, 2)}`,
    `subsystem_id: ${text(`${hexDigits(device.subsystemVendor, 4)}:${hexDigits(device.subsystemDevice, 4)}`)}`,
    driverLine(wantedDriver(device)),
    ...seldomLines(device),
    `model: ${text(device.model)}`,
    ...optionLines(device.options, kinds.pciKind(device.model).options),
    `mmap: ${device.mmap}`,
    ...(device.migration === false ? ["migration: false"] : []),
    ...(device.bars.length === 0 ? ["bars: []"] : ["bars:"]),
    ...device.bars.map(barLine),
    ...Object.entries(device.translation ?? {}).flatMap(([ability, has]) => (has ? [`${ability}: true`] : [])),
    ...(device.reservedRegions.length === 0 ? [] : regionLines(device.reservedRegions)),
    ...(device.config ? bytesLines("config", device.config) : []),
    ...(device.zpci ? zpciLines(device.zpci) : []),
    ...(device.zpci?.resource ? ["resource:", ...device.zpci.resource.map((line) => `  - ${text(line)}`)] : []),
  ];
}

/** What firmware of s390 says of a function. Its range is the group's. */
function zpciLines(zpci: ZpciDescription): string[] {
  const { group } = zpci;
  return [
    "# What firmware says of the function (CLP).",
    "zpci:",
    `  function_id: 0x${hexDigits(zpci.functionId, 8)}`,
    `  function_handle: 0x${hexDigits(zpci.functionHandle, 8)}`,
    `  uid: 0x${hexDigits(zpci.uid, 4)}`,
    `  pchid: 0x${hexDigits(zpci.pchid, 4)}`,
    `  vfn: 0x${hexDigits(zpci.vfn, 4)}`,
    `  pft: 0x${hexDigits(zpci.pft, 2)}`,
    `  pfgid: 0x${hexDigits(group.id, 2)}`,
    `  port: ${zpci.port}`,
    `  pfip: 0x${hexDigits(zpci.pfip, 8)}`,
    ...(zpci.utilString ? [`  util_string_hex: "${Buffer.from(zpci.utilString).toString("hex")}"`] : []),
    `  fmb_length: ${zpci.fmbLength}`,
    `  dasm: ${hex(group.dasm)}`,
    `  msi_addr: ${hex(group.msiAddress)}`,
    `  mui: ${group.mui}`,
    `  noi: ${group.noi}`,
    `  maxstbl: ${group.maxstbl}`,
    `  imaxstbl: ${group.imaxstbl}`,
    `  pci_version: ${group.version}`,
  ];
}

function barLine({ index, size, type, claimedBy }: PciBar): string {
  const claimed = claimedBy === undefined ? "" : `, claimed_by: ${JSON.stringify(claimedBy)}`;
  return `  - { index: ${index}, size: 0x${size.toString(16)}, type: ${type}${claimed} }`;
}

/** What is said only where a device differs from the usual. */
function seldomLines(device: PciDeviceDescription): string[] {
  const { pcie, physfn, sriovTotalVfs, irq, irqSharedWith, secondaryBus, numaNode, rom } = device;
  return [
    ...(pcie === undefined ? [] : [`pcie: ${pcie}`]),
    ...(physfn === undefined ? [] : ["# A virtual function of:", `physfn: ${text(physfn)}`]),
    ...(sriovTotalVfs === undefined ? [] : [`sriov_totalvfs: ${sriovTotalVfs}`]),
    ...(secondaryBus === undefined ? [] : [`secondary_bus: 0x${hexDigits(secondaryBus, 2)}`]),
    ...(irq === undefined ? [] : [`irq: ${irq}`]),
    ...(irqSharedWith === undefined ? [] : [`irq_shared_with: ${text(irqSharedWith)}`]),
    ...(device.intxMasking === false ? ["intx_masking: false"] : []),
    ...(device.cacheCoherent === false ? ["cache_coherent: false"] : []),
    ...(numaNode === undefined ? [] : [`numa_node: ${numaNode}`]),
    ...(rom === undefined ? [] : typeof rom === "string" ? [`rom: ${rom}`] : bytesLines("rom", rom)),
  ];
}

function mdevLines(device: MdevDeviceDescription, kinds: DeviceKinds): string[] {
  return [
    `uuid: ${text(device.uuid)}`,
    ...nameLines(device.name),
    `parent: ${text(device.parent)}`,
    `type: ${text(device.type)}`,
    `iommu_backed: ${device.iommuBacked}`,
    driverLine(device.driver),
    `model: ${text(device.model)}`,
    ...optionLines(device.options, kinds.mediatedKind(device.model).options),
  ];
}

function optionLines(options: DeviceDescription["options"] = {}, schema: OptionSchema = {}): string[] {
  const said = Object.entries(options).filter((entry): entry is [string, OptionValue] => entry[1] !== undefined);
  if (said.length === 0) return [];
  const lines = said.flatMap(([name, value]) => [`  # ${schema[name]!.meaning}`, `  ${name}: ${optionText(value)}`]);
  return ["options:", ...lines];
}

function optionText(value: OptionValue): string {
  if (typeof value === "bigint") return hex(value);
  if (typeof value === "object") return `[${value.map(entryText).join(", ")}]`;
  return typeof value === "string" ? text(value) : String(value);
}

/** An entry of a list of options. */
function entryText(entry: DeviceOptions | string): string {
  if (typeof entry === "string") return JSON.stringify(entry);
  const said = Object.entries(entry).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${optionText(value)}`],
  );
  return `{ ${said.join(", ")} }`;
}

function nameLines(name: string): string[] {
  return name === "" ? [] : [`name: ${text(name)}`];
}

/** "" is how a file says that no driver is bound; leaving it out would mean the default. */
function driverLine(driver: string | null): string {
  return `driver: ${text(driver ?? "")}`;
}

/** The bytes in hex, folded; the end is often zeros, but they are part of it. */
function bytesLines(key: string, bytes: Uint8Array): string[] {
  const digits = Buffer.from(bytes).toString("hex");
  const lines = digits.match(new RegExp(`.{1,${CONFIG_LINE}}`, "g")) ?? [];
  return [`${key}: |`, ...lines.map((line) => `  ${line}`)];
}

/** An entry of a list. */
function entry(indent: string, lines: readonly string[]): string[] {
  return lines.map((line, index) => `${indent}${index === 0 ? "- " : "  "}${line}`);
}

/** Plain where YAML cannot take it for anything else, else quoted (JSON strings are YAML). */
function text(value: string): string {
  const plain =
    /^[A-Za-z][A-Za-z0-9_ ./()-]*[A-Za-z0-9_.)]$/.test(value) && !/^(true|false|null|yes|no|on|off)$/i.test(value);
  return plain ? value : JSON.stringify(value);
}

function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

function hexDigits(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
