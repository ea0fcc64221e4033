import { PCI_BAR_TYPES, type RomContent } from "../devices/description.ts";
import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import { romSize } from "../devices/pci/rom-image.ts";
import { SPAPR_PLATFORMS } from "../iommu/description.ts";
import { IOMMU_MODELS, kindFromText } from "../iommu/kinds.ts";
import { ARCHES } from "../kernel/arch.ts";
import { refuseRelease, releaseFrom } from "../kernel/releases.ts";
import { notOneOf, shown } from "../kernel/written-values.ts";
import { API_PROFILES, RESERVED_REGION_TYPES, VFIO_CONTAINERS } from "./host-description.ts";
import { checked, type Field, isMapping, list, listOf, mapping as mappingOf, nullish } from "./host-fields.ts";
import {
  address,
  boolean,
  byteSize,
  fileName,
  hexBytes,
  hexNumber,
  numberBetween,
  oneOf,
  pageSizeBitmap,
  powerOfTwo,
  text,
} from "./host-values.ts";

/**
 * The file format: a host file as people write it, and, with the same names, the host.json of a recording. A recording
 * says more than the model needs, so there (and only there) unknown keys are passed over.
 */

const UINT32 = 0xffff_ffff;

/** A register of 32 bits. */
const register = numberBetween(0, UINT32);

/** "6.12". Text, because 6.10 is not the number 6.1. */
const kernel = checked((value) => {
  const problem = refuseRelease(typeof value === "string" ? value : "");
  return problem === undefined
    ? { value: releaseFrom(value as string)! }
    : { problem: `${shown(value)} is ${problem}` };
});

/** A model's name; in a recording free text may follow it: "intel-vtd, DMAR with an RMRR for device B". */
const iommuModel = checked((value) => {
  const kind = typeof value === "string" ? kindFromText(value) : undefined;
  return kind === undefined ? { problem: notOneOf(value, IOMMU_MODELS) } : { value: kind.model };
});

/** Domain, bus, slot, function. */
const bdf = checked((value) => {
  if (typeof value === "string" && /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i.test(value))
    return { value: value.toLowerCase() };
  return { problem: `not a PCI address: ${shown(value)} (write it with its domain, like 0000:00:1b.0)` };
});

const uuid = checked((value) =>
  typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)
    ? { value: value.toLowerCase() }
    : { problem: `not a UUID: ${shown(value)}` },
);

interface IdPair {
  readonly vendor: number;
  readonly device: number;
}

/** Devices of one kind often follow each other. */
let lastIds: { readonly text: unknown; readonly reading: { readonly value: IdPair } } | undefined;

/** "8086:10d3", also with 0x before each number as recordings have it. */
const idPair = checked((value) => {
  if (value === lastIds?.text) return lastIds!.reading;
  const match = typeof value === "string" ? /^(?:0x)?([0-9a-f]{1,4}):(?:0x)?([0-9a-f]{1,4})$/i.exec(value) : null;
  if (!match) return { problem: `not vendor and device: ${shown(value)} (write it like 8086:10d3)` };
  const reading = { value: { vendor: Number.parseInt(match[1]!, 16), device: Number.parseInt(match[2]!, 16) } };
  lastIds = { text: value, reading };
  return reading;
});

/** A driver's name; nothing between the quotes means none. */
const driver = checked((value) =>
  typeof value === "string" && /^[A-Za-z0-9_.-]*$/.test(value)
    ? { value }
    : { problem: `not a driver's name: ${shown(value)}` },
);

/** The whole config space in hex. Spaces and line breaks are for readers. */
const configSpace = checked((value) => {
  const digits = String(value).replace(/\s+/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) return { problem: `not hex bytes: ${shown(value)}` };
  const bytes = Uint8Array.from(Buffer.from(digits, "hex"));
  if (bytes.length !== 256 && bytes.length !== 4096)
    return { problem: `${bytes.length} bytes; a config space has 256 or 4096` };
  return { value: bytes };
});

/** What is behind the ROM BAR: a word, or the image in hex. */
const rom = checked((value): { value: RomContent } | { problem: string } => {
  if (value === "none" || value === "shadow") return { value };
  const digits = String(value).replace(/\s+/g, "");
  if (!/^([0-9a-f]{2})+$/i.test(digits))
    return { problem: `not a ROM: ${shown(value)} (none, shadow, or the image in hex)` };
  const bytes = Uint8Array.from(Buffer.from(digits, "hex"));
  return romSize(bytes) > 0
    ? { value: bytes }
    : { problem: "no ROM image: it begins with 55 aa and names a PCIR structure" };
});

/** What a device's kind makes of it, check-host.ts asks. */
const deviceOptions = checked((value) =>
  isMapping(value)
    ? { value: value as Readonly<Record<string, unknown>> }
    : { problem: `must be a mapping, not ${shown(value)}` },
);

/** "allow_unsafe_interrupts=1 disable_hugepages": what a recording's modules were loaded with. */
const moduleOptions = checked((value) => {
  if (typeof value !== "string") return { problem: `not module options: ${shown(value)}` };
  const pairs = value.split(/\s+/).filter((option) => option !== "");
  return { value: new Map(pairs.map((pair) => [pair.replace(/=.*/, ""), pair.replace(/^[^=]*=?/, "")])) };
});

/** Of a recording's QEMU: text of any number of lines. */
const commandLine = checked((value) =>
  typeof value === "string" ? { value } : { problem: `not text: ${shown(value)}` },
);

/** What a file says, field by field, before defaults. Names are the file's. */
export type HostFile = ReturnType<ReturnType<typeof hostSchema>>;
export type GroupFile = HostFile["groups"][number];
export type PciFile = Exclude<DeviceFile, { uuid: string }>;
export type DeviceFile = NonNullable<GroupFile["devices"]>[number];

/**
 * @param recording whether unknown keys are passed over
 * @param kinds what a device's `model` may name
 */
export function hostSchema(recording: boolean, kinds: DeviceKinds = DEVICE_KINDS) {
  const mapping = <F extends Parameters<typeof mappingOf>[0]>(fields: F) => mappingOf(fields, recording);

  const reservedRegion = mapping({ start: address, end: address, type: oneOf(RESERVED_REGION_TYPES) });
  const reservedRegions = nullish(list(reservedRegion));

  // What may differ between IOMMUs of one kind in one machine.
  const iommuUnit = {
    address_bits: nullish(numberBetween(12, 64)),
    aperture_start: nullish(address),
    aperture_end: nullish(address),
    page_sizes: nullish(pageSizeBitmap),
    cache_coherent: nullish(boolean),
    interrupt_remapping: nullish(boolean),
  };

  const iommu = mapping({
    model: iommuModel,
    ...iommuUnit,
    nesting: nullish(boolean),
    dirty_tracking: nullish(boolean),
    vtd_cap: nullish(address),
    vtd_ecap: nullish(address),
    // Of an Arm SMMUv3: what GET_HW_INFO shows, and whether ACPI says that its devices' accesses are always written
    // back.
    hw_info: nullish(
      mapping({
        idr: listOf(6, register, "must be six numbers, SMMU_IDR0 to SMMU_IDR5"),
        iidr: nullish(register),
        aidr: nullish(register),
      }),
    ),
    canwbs: nullish(boolean),
    platform: nullish(oneOf(SPAPR_PLATFORMS)),
    dma32_window_start: nullish(address),
    dma32_window_size: nullish(byteSize),
    max_dynamic_windows: nullish(numberBetween(0, UINT32)),
    levels: nullish(numberBetween(0, UINT32)),
    // Recorded: the valid ranges that the first GET_INFO showed.
    iova_ranges_first_seen: nullish(list(listOf(2, address, "not a pair of start and end"))),
  });

  const modules = mapping({
    vfio: nullish(
      mapping({
        // null: a kernel without no-IOMMU mode does not have the parameter.
        enable_unsafe_noiommu_mode: nullish(boolean),
        options: nullish(moduleOptions),
      }),
    ),
    vfio_iommu_type1: nullish(
      mapping({
        dma_entry_limit: nullish(numberBetween(0, UINT32)),
        allow_unsafe_interrupts: nullish(boolean),
        disable_hugepages: nullish(boolean),
        options: nullish(moduleOptions),
      }),
    ),
    vfio_pci: nullish(
      mapping({
        vga: nullish(boolean),
        disable_vga: nullish(boolean),
        dma_buf: nullish(boolean),
        options: nullish(moduleOptions),
      }),
    ),
    iommufd: nullish(mapping({ allow_unsafe_interrupts: nullish(boolean), options: nullish(moduleOptions) })),
  });

  const bar = mapping({
    index: numberBetween(0, 6),
    size: powerOfTwo,
    type: oneOf(PCI_BAR_TYPES),
    claimed_by: nullish(text),
  });

  // What firmware of an s390 machine says of a function. The numbers of its group stand apart in a recording.
  const zpciGroup = {
    dasm: nullish(address),
    msi_addr: nullish(address),
    mui: nullish(numberBetween(0, 0xffff)),
    noi: nullish(numberBetween(0, 0xffff)),
    maxstbl: nullish(numberBetween(0, 0xffff)),
    imaxstbl: nullish(numberBetween(0, 0xffff)),
    pci_version: nullish(numberBetween(0, 0xff)),
  };
  const fmb = { fmb_length: nullish(numberBetween(0, 0xffff)) };
  const pfip = { pfip: nullish(hexNumber(8)) };
  const zpci = mapping({
    function_id: nullish(hexNumber(8)),
    function_handle: nullish(hexNumber(8)),
    uid: nullish(hexNumber(4)),
    pchid: nullish(hexNumber(4)),
    vfn: nullish(hexNumber(4)),
    pft: nullish(hexNumber(2)),
    pfgid: nullish(hexNumber(2)),
    port: nullish(numberBetween(0, 0xff)),
    util_string_hex: nullish(hexBytes(64)),
    ...fmb,
    ...pfip,
    ...zpciGroup,
    // Recorded: what VFIO told of it.
    device_info_caps: nullish(
      mapping({
        base: nullish(mapping(fmb)),
        group: nullish(mapping(zpciGroup)),
        pfip: nullish(mapping(pfip)),
      }),
    ),
  });

  const pciDevice = mapping({
    bdf,
    id: idPair,
    name: nullish(text),
    bus: nullish(oneOf(["pci"])),
    class: nullish(hexNumber(6)),
    revision: nullish(hexNumber(2)),
    subsystem_id: nullish(idPair),
    driver: nullish(driver),
    model: nullish(oneOf(kinds.pciModels)),
    options: nullish(deviceOptions),
    mmap: nullish(boolean),
    migration: nullish(boolean),
    bars: nullish(list(bar)),
    pasid: nullish(boolean),
    ats: nullish(boolean),
    pri: nullish(boolean),
    pcie: nullish(boolean),
    physfn: nullish(bdf),
    sriov_totalvfs: nullish(numberBetween(1, 0xffff)),
    irq: nullish(numberBetween(0, UINT32)),
    irq_shared_with: nullish(text),
    intx_masking: nullish(boolean),
    cache_coherent: nullish(boolean),
    rom: nullish(rom),
    secondary_bus: nullish(numberBetween(1, 0xff)),
    numa_node: nullish(numberBetween(0, 1023)),
    reserved_regions: reservedRegions,
    config: nullish(configSpace),
    zpci: nullish(zpci),
    // Recorded: the lines of its file in sysfs.
    resource: nullish(list(text)),
  });

  const mdevDevice = mapping({
    uuid,
    parent: bdf,
    type: fileName,
    name: nullish(text),
    bus: nullish(oneOf(["mdev"])),
    iommu_backed: nullish(boolean),
    driver: nullish(driver),
    model: nullish(oneOf(kinds.mediatedModels)),
    options: nullish(deviceOptions),
  });

  // A device's address tells which of the two it is; a union's messages would speak of both.
  type Device = ReturnType<typeof pciDevice> | ReturnType<typeof mdevDevice>;
  const device: Field<Device> = (value, problems) =>
    isMapping(value) && "uuid" in value ? mdevDevice(value, problems) : pciDevice(value, problems);

  const groupIommu = mapping({
    ...iommuUnit,
    dirty_tracking: nullish(boolean),
    // Which of several that share no page tables.
    instance: nullish(numberBetween(0, 255)),
  });

  const group = mapping({
    id: numberBetween(0, 0x7fff_ffff),
    type: nullish(fileName),
    name: nullish(text),
    iommu: nullish(groupIommu),
    reserved_regions: reservedRegions,
    devices: nullish(list(device)),
  });

  return mapping({
    // A recording has `machine` where a host file has `name`, and the command line of its QEMU.
    machine: nullish(text),
    qemu: nullish(commandLine),
    name: nullish(text),
    description: nullish(text),
    kernel: nullish(kernel),
    api: nullish(oneOf(API_PROFILES)),
    arch: nullish(oneOf(ARCHES)),
    page_size: nullish(powerOfTwo),
    vfio_container: nullish(oneOf(VFIO_CONTAINERS)),
    iommufd: nullish(boolean),
    iommu,
    modules: nullish(modules),
    groups: list(group),
    // In no IOMMU group.
    devices: nullish(list(device)),
    // Recorded: holds module parameters as well.
    kernel_command_line: nullish(text),
  });
}
