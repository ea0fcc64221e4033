import { z } from "zod";
import { PCI_BAR_TYPES, type RomContent } from "../devices/description.ts";
import { DEVICE_KINDS, type DeviceKinds } from "../devices/kinds.ts";
import { romSize } from "../devices/pci/rom-image.ts";
import { SPAPR_PLATFORMS } from "../iommu/description.ts";
import { IOMMU_MODELS, kindFromText } from "../iommu/kinds.ts";
import { ARCHES } from "../kernel/arch.ts";
import { didYouMean } from "../kernel/nearest.ts";
import { refuseRelease, releaseFrom } from "../kernel/releases.ts";
import { notOneOf, shown } from "../kernel/written-values.ts";
import { API_PROFILES, RESERVED_REGION_TYPES, VFIO_CONTAINERS } from "./host-description.ts";
import {
  address,
  boolean,
  byteSize,
  checked,
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

/** "8086:10d3", also with 0x before each number as recordings have it. */
const idPair = checked((value) => {
  const match = typeof value === "string" ? /^(?:0x)?([0-9a-f]{1,4}):(?:0x)?([0-9a-f]{1,4})$/i.exec(value) : null;
  if (!match) return { problem: `not vendor and device: ${shown(value)} (write it like 8086:10d3)` };
  return { value: { vendor: Number.parseInt(match[1]!, 16), device: Number.parseInt(match[2]!, 16) } };
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
  isObject(value) && !Array.isArray(value)
    ? { value: value as Readonly<Record<string, unknown>> }
    : { problem: `must be a mapping, not ${shown(value)}` },
);

/** "allow_unsafe_interrupts=1 disable_hugepages": what a recording's modules were loaded with. */
const moduleOptions = checked((value) => {
  if (typeof value !== "string") return { problem: `not module options: ${shown(value)}` };
  const pairs = value.split(/\s+/).filter((option) => option !== "");
  return { value: new Map(pairs.map((pair) => [pair.replace(/=.*/, ""), pair.replace(/^[^=]*=?/, "")])) };
});

/** What a file says, field by field, before defaults. Names are the file's. */
export type HostFile = z.infer<ReturnType<typeof hostSchema>>;
export type GroupFile = HostFile["groups"][number];
export type PciFile = Exclude<DeviceFile, { uuid: string }>;
export type DeviceFile = NonNullable<GroupFile["devices"]>[number];

/**
 * @param recording whether unknown keys are passed over
 * @param kinds what a device's `model` may name
 */
export function hostSchema(recording: boolean, kinds: DeviceKinds = DEVICE_KINDS) {
  const mapping = <Shape extends z.core.$ZodLooseShape>(shape: Shape) => {
    if (recording) return z.object(shape);
    const strict = z.strictObject(shape, {
      error: (issue) => (issue.code === "unrecognized_keys" ? unknownKeys(issue.keys, Object.keys(shape)) : undefined),
    });
    // Only the index signature of the inferred type differs.
    return strict as unknown as z.ZodObject<Shape, z.core.$strip>;
  };

  const reservedRegion = mapping({ start: address, end: address, type: oneOf(RESERVED_REGION_TYPES) });
  const reservedRegions = z.array(reservedRegion).nullish();

  const iommu = mapping({
    model: iommuModel,
    address_bits: numberBetween(12, 64).nullish(),
    aperture_start: address.nullish(),
    aperture_end: address.nullish(),
    page_sizes: pageSizeBitmap.nullish(),
    cache_coherent: boolean.nullish(),
    interrupt_remapping: boolean.nullish(),
    nesting: boolean.nullish(),
    dirty_tracking: boolean.nullish(),
    vtd_cap: address.nullish(),
    vtd_ecap: address.nullish(),
    // Of an Arm SMMUv3: what GET_HW_INFO shows, and whether ACPI says that its devices' accesses are always written
    // back.
    hw_info: mapping({
      idr: z.array(register, { error: "must be six numbers, SMMU_IDR0 to SMMU_IDR5" }).length(6),
      iidr: register.nullish(),
      aidr: register.nullish(),
    }).nullish(),
    canwbs: boolean.nullish(),
    platform: oneOf(SPAPR_PLATFORMS).nullish(),
    dma32_window_start: address.nullish(),
    dma32_window_size: byteSize.nullish(),
    max_dynamic_windows: numberBetween(0, UINT32).nullish(),
    levels: numberBetween(0, UINT32).nullish(),
    // Recorded: the valid ranges that the first GET_INFO showed.
    iova_ranges_first_seen: z.array(z.tuple([address, address])).nullish(),
  });

  const modules = mapping({
    vfio: mapping({
      // null: a kernel without no-IOMMU mode does not have the parameter.
      enable_unsafe_noiommu_mode: boolean.nullish(),
      options: moduleOptions.nullish(),
    }).nullish(),
    vfio_iommu_type1: mapping({
      dma_entry_limit: numberBetween(0, UINT32).nullish(),
      allow_unsafe_interrupts: boolean.nullish(),
      disable_hugepages: boolean.nullish(),
      options: moduleOptions.nullish(),
    }).nullish(),
    vfio_pci: mapping({
      vga: boolean.nullish(),
      disable_vga: boolean.nullish(),
      dma_buf: boolean.nullish(),
      options: moduleOptions.nullish(),
    }).nullish(),
    iommufd: mapping({ allow_unsafe_interrupts: boolean.nullish(), options: moduleOptions.nullish() }).nullish(),
  });

  const bar = mapping({
    index: numberBetween(0, 6),
    size: powerOfTwo,
    type: oneOf(PCI_BAR_TYPES),
    claimed_by: text.nullish(),
  });

  // What firmware of an s390 machine says of a function. The numbers of its group stand apart in a recording.
  const zpciGroup = {
    dasm: address.nullish(),
    msi_addr: address.nullish(),
    mui: numberBetween(0, 0xffff).nullish(),
    noi: numberBetween(0, 0xffff).nullish(),
    maxstbl: numberBetween(0, 0xffff).nullish(),
    imaxstbl: numberBetween(0, 0xffff).nullish(),
    pci_version: numberBetween(0, 0xff).nullish(),
  };
  const fmb = { fmb_length: numberBetween(0, 0xffff).nullish() };
  const pfip = { pfip: hexNumber(8).nullish() };
  const zpci = mapping({
    function_id: hexNumber(8).nullish(),
    function_handle: hexNumber(8).nullish(),
    uid: hexNumber(4).nullish(),
    pchid: hexNumber(4).nullish(),
    vfn: hexNumber(4).nullish(),
    pft: hexNumber(2).nullish(),
    pfgid: hexNumber(2).nullish(),
    port: numberBetween(0, 0xff).nullish(),
    util_string_hex: hexBytes(64).nullish(),
    ...fmb,
    ...pfip,
    ...zpciGroup,
    // Recorded: what VFIO told of it.
    device_info_caps: mapping({
      base: mapping(fmb).nullish(),
      group: mapping(zpciGroup).nullish(),
      pfip: mapping(pfip).nullish(),
    }).nullish(),
  });

  const pciDevice = mapping({
    bdf,
    id: idPair,
    name: text.nullish(),
    bus: oneOf(["pci"]).nullish(),
    class: hexNumber(6).nullish(),
    revision: hexNumber(2).nullish(),
    subsystem_id: idPair.nullish(),
    driver: driver.nullish(),
    model: oneOf(kinds.pciModels).nullish(),
    options: deviceOptions.nullish(),
    mmap: boolean.nullish(),
    migration: boolean.nullish(),
    bars: z.array(bar).nullish(),
    pasid: boolean.nullish(),
    ats: boolean.nullish(),
    pri: boolean.nullish(),
    pcie: boolean.nullish(),
    physfn: bdf.nullish(),
    sriov_totalvfs: numberBetween(1, 0xffff).nullish(),
    irq: numberBetween(0, UINT32).nullish(),
    irq_shared_with: text.nullish(),
    intx_masking: boolean.nullish(),
    cache_coherent: boolean.nullish(),
    rom: rom.nullish(),
    secondary_bus: numberBetween(1, 0xff).nullish(),
    numa_node: numberBetween(0, 1023).nullish(),
    reserved_regions: reservedRegions,
    config: configSpace.nullish(),
    zpci: zpci.nullish(),
    // Recorded: the lines of its file in sysfs.
    resource: z.array(text).nullish(),
  });

  const mdevDevice = mapping({
    uuid,
    parent: bdf,
    type: fileName,
    name: text.nullish(),
    bus: oneOf(["mdev"]).nullish(),
    iommu_backed: boolean.nullish(),
    driver: driver.nullish(),
    model: oneOf(kinds.mediatedModels).nullish(),
    options: deviceOptions.nullish(),
  });

  // A device's address tells which of the two it is; a union's messages would speak of both.
  const device = z.unknown().transform((value, context): z.infer<typeof pciDevice> | z.infer<typeof mdevDevice> => {
    const result =
      isObject(value) && "uuid" in value
        ? mdevDevice.safeParse(value, { error: describeIssue })
        : pciDevice.safeParse(value, { error: describeIssue });
    if (result.success) return result.data;
    context.issues.push(...(result.error.issues as z.core.$ZodRawIssue[]));
    return z.NEVER;
  });

  // What may differ between IOMMUs of one kind in one machine.
  const groupIommu = mapping({
    address_bits: numberBetween(12, 64).nullish(),
    aperture_start: address.nullish(),
    aperture_end: address.nullish(),
    page_sizes: pageSizeBitmap.nullish(),
    cache_coherent: boolean.nullish(),
    interrupt_remapping: boolean.nullish(),
    dirty_tracking: boolean.nullish(),
    // Which of several that share no page tables.
    instance: numberBetween(0, 255).nullish(),
  });

  const group = mapping({
    id: numberBetween(0, 0x7fff_ffff),
    type: fileName.nullish(),
    name: text.nullish(),
    iommu: groupIommu.nullish(),
    reserved_regions: reservedRegions,
    devices: z.array(device).nullish(),
  });

  return mapping({
    // A recording has `machine` where a host file has `name`, and the command line of its QEMU.
    machine: text.nullish(),
    qemu: z.string().nullish(),
    name: text.nullish(),
    description: text.nullish(),
    kernel: kernel.nullish(),
    api: oneOf(API_PROFILES).nullish(),
    arch: oneOf(ARCHES).nullish(),
    page_size: powerOfTwo.nullish(),
    vfio_container: oneOf(VFIO_CONTAINERS).nullish(),
    iommufd: boolean.nullish(),
    iommu,
    modules: modules.nullish(),
    groups: z.array(group),
    // In no IOMMU group.
    devices: z.array(device).nullish(),
    // Recorded: holds module parameters as well.
    kernel_command_line: text.nullish(),
  });
}

/** What is wrong with a mapping or a list; single values say it themselves (host-values.ts). */
export function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== "invalid_type" && issue.code !== "too_small" && issue.code !== "too_big") return undefined;
  if (issue.input === undefined || issue.input === null) return "missing";
  if (issue.code !== "invalid_type") return "not a pair of start and end";
  return `must be ${issue.expected === "object" ? "a mapping" : "a list"}, not ${shown(issue.input)}`;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** One line for each key. */
function unknownKeys(keys: readonly string[], known: readonly string[]): string {
  return keys.map((key) => `unknown key${didYouMean(key, known) || ` (there are: ${known.join(", ")})`}`).join("\n");
}
