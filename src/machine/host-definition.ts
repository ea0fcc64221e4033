import type { PCI_BAR_TYPES } from "../devices/description.ts";
import type { SPAPR_PLATFORMS } from "../iommu/description.ts";
import type { IOMMU_MODELS } from "../iommu/kinds.ts";
import type { Arch } from "../kernel/arch.ts";
import type { ApiProfile, RESERVED_REGION_TYPES, VfioContainer } from "./host-description.ts";

/** A number, or hex digits as text ("0xfee00000"). */
export type NumberInCode = number | bigint | string;

/**
 * A host in code: what a host file says, with the same keys (docs/host-file.md has their meanings and defaults). Keys
 * that are left out, undefined or null have their defaults.
 *
 * Groups and devices have short forms: a group may be its devices alone, and has the next free id then. A device may be
 * its ids ("8086:10d3") or the name of a kind of device ("edu"), and has the next free address then.
 */
export interface HostDefinition {
  /** For messages; "host in code" when left out. */
  readonly name?: string | null | undefined;
  /** One line more. */
  readonly description?: string | null | undefined;
  /** Release that is imitated, as text: "6.12". */
  readonly kernel?: string | null | undefined;
  /** Whose meaning request numbers have. */
  readonly api?: ApiProfile | null | undefined;
  /** Instruction set. */
  readonly arch?: Arch | null | undefined;
  /** The kernel's page in bytes. */
  readonly page_size?: NumberInCode | null | undefined;
  /** What answers on /dev/vfio/vfio. */
  readonly vfio_container?: VfioContainer | null | undefined;
  /** Whether /dev/iommu and the devices' own nodes exist. */
  readonly iommufd?: boolean | null | undefined;
  /** The IOMMU, or its model alone; "intel-vtd" when left out. */
  readonly iommu?: IommuModel | IommuDefinition | undefined;
  /** Module parameters at boot. */
  readonly modules?: ModulesDefinition | null | undefined;
  /** The IOMMU groups. */
  readonly groups?: readonly GroupDefinition[] | undefined;
  /** Devices in no IOMMU group. */
  readonly devices?: readonly DeviceDefinition[] | null | undefined;
}

/** Kinds of IOMMU. */
export type IommuModel = (typeof IOMMU_MODELS)[number];

/** An IOMMU (`iommu` of a host file). */
export interface IommuDefinition extends GroupIommuDefinition {
  /** The kind. */
  readonly model: IommuModel;
  /** Second-stage tables that first-stage ones nest on (intel-vtd-sm, arm-smmu-v3). */
  readonly nesting?: boolean | null | undefined;
  /** VT-d's register CAP. */
  readonly vtd_cap?: NumberInCode | null | undefined;
  /** VT-d's register ECAP. */
  readonly vtd_ecap?: NumberInCode | null | undefined;
  /** The ID registers of an Arm SMMUv3 (arm-smmu-v3). */
  readonly hw_info?: SmmuInfoDefinition | null | undefined;
  /** Its devices' accesses can always be written back to caches (CANWBS in ACPI's IORT), which a virtual SMMU wants. */
  readonly canwbs?: boolean | null | undefined;
  /** POWER: what it runs on. */
  readonly platform?: (typeof SPAPR_PLATFORMS)[number] | null | undefined;
  /** First bus address of the 32-bit window. */
  readonly dma32_window_start?: NumberInCode | null | undefined;
  /** Its bytes. */
  readonly dma32_window_size?: NumberInCode | null | undefined;
  /** How many further windows can be made. */
  readonly max_dynamic_windows?: NumberInCode | null | undefined;
  /** Levels of a window's table. */
  readonly levels?: NumberInCode | null | undefined;
}

/** ID registers of an Arm SMMUv3, as IOMMU_GET_HW_INFO shows them. */
export interface SmmuInfoDefinition {
  /** SMMU_IDR0 to SMMU_IDR5. */
  readonly idr: readonly NumberInCode[];
  /** SMMU_IIDR */
  readonly iidr?: NumberInCode | null | undefined;
  /** SMMU_AIDR */
  readonly aidr?: NumberInCode | null | undefined;
}

/** What may differ between IOMMUs of one kind in one machine. */
export interface GroupIommuDefinition {
  /** How many bits of an IOVA it translates. */
  readonly address_bits?: NumberInCode | null | undefined;
  /** First IOVA that it translates. */
  readonly aperture_start?: NumberInCode | null | undefined;
  /** Last IOVA that it translates. */
  readonly aperture_end?: NumberInCode | null | undefined;
  /** Bit n: pages of 2^n bytes. */
  readonly page_sizes?: NumberInCode | null | undefined;
  /** Whether DMA is coherent with the caches. */
  readonly cache_coherent?: boolean | null | undefined;
  /** Without it groups attach only with allow_unsafe_interrupts. */
  readonly interrupt_remapping?: boolean | null | undefined;
  /** Whether it notes which pages devices write. */
  readonly dirty_tracking?: boolean | null | undefined;
  /** Which of several it is that share no page tables; the first is 0. */
  readonly instance?: NumberInCode | null | undefined;
}

/** Module parameters (`modules` of a host file). */
export interface ModulesDefinition {
  /** Of the module vfio. */
  readonly vfio?: VfioModuleDefinition | null | undefined;
  /** Of the module vfio_iommu_type1. */
  readonly vfio_iommu_type1?: Type1ModuleDefinition | null | undefined;
  /** Of the module vfio_pci. */
  readonly vfio_pci?: VfioPciModuleDefinition | null | undefined;
  /** Of the module iommufd. */
  readonly iommufd?: IommufdModuleDefinition | null | undefined;
}

/** Parameters of the module vfio. */
export interface VfioModuleDefinition {
  /** No-IOMMU mode; null: the kernel is built without. */
  readonly enable_unsafe_noiommu_mode?: boolean | null | undefined;
}

/** Parameters of the module vfio_iommu_type1. */
export interface Type1ModuleDefinition {
  /** Mappings that one container may have. */
  readonly dma_entry_limit?: NumberInCode | null | undefined;
  /** Lets devices be used without interrupt remapping. */
  readonly allow_unsafe_interrupts?: boolean | null | undefined;
  /** Maps one page at a time. */
  readonly disable_hugepages?: boolean | null | undefined;
}

/** How vfio-pci is built and loaded. */
export interface VfioPciModuleDefinition {
  /** Built with access to VGA addresses. */
  readonly vga?: boolean | null | undefined;
  /** The parameter that switches that off. */
  readonly disable_vga?: boolean | null | undefined;
}

/** Parameters of the module iommufd. */
export interface IommufdModuleDefinition {
  /** Lets devices be used without interrupt remapping. */
  readonly allow_unsafe_interrupts?: boolean | null | undefined;
}

/** A range that cannot be mapped, or is mapped one to one. */
export interface ReservedRegionDefinition {
  /** First byte. */
  readonly start: NumberInCode;
  /** Last byte. */
  readonly end: NumberInCode;
  /** As sysfs says it. */
  readonly type: (typeof RESERVED_REGION_TYPES)[number];
}

/** An IOMMU group: its device, its devices, or all that can be said of it. */
export type GroupDefinition = DeviceDefinition | readonly DeviceDefinition[] | WholeGroupDefinition;

/** All that can be said of an IOMMU group. */
export interface WholeGroupDefinition {
  /** N of /dev/vfio/N; the next free number when left out. */
  readonly id?: NumberInCode | undefined;
  /** Kind of its default domain. */
  readonly type?: string | null | undefined;
  /** What people call it. */
  readonly name?: string | null | undefined;
  /** Another IOMMU of the host's kind behind this group. */
  readonly iommu?: GroupIommuDefinition | null | undefined;
  /** What cannot be mapped; by the kind of IOMMU when left out. */
  readonly reserved_regions?: readonly ReservedRegionDefinition[] | null | undefined;
  /** Its devices. */
  readonly devices: readonly DeviceDefinition[];
}

/** A device: "8086:10d3", "edu", or what differs from the usual. */
export type DeviceDefinition = string | PciDeviceDefinition | MdevDeviceDefinition;

/** A PCI device. One of `id` and `model` must be there. */
export interface PciDeviceDefinition {
  /** "0000:01:00.0"; the next bus that is free when left out. */
  readonly bdf?: string | undefined;
  /** Vendor and device: "8086:10d3"; those of the model when left out. */
  readonly id?: string | undefined;
  /** What people call it. */
  readonly name?: string | null | undefined;
  /** Says that it is a PCI device, which its address says too. */
  readonly bus?: "pci" | null | undefined;
  /** 24 bits. */
  readonly class?: NumberInCode | null | undefined;
  /** 8 bits. */
  readonly revision?: NumberInCode | null | undefined;
  /** Subsystem vendor and device. */
  readonly subsystem_id?: string | null | undefined;
  /** "vfio-pci" when left out, "" for none. */
  readonly driver?: string | null | undefined;
  /** The kind of device that answers. */
  readonly model?: string | null | undefined;
  /** What that kind lets one choose. */
  readonly options?: Readonly<Record<string, unknown>> | null | undefined;
  /** Whether BARs can be mapped. */
  readonly mmap?: boolean | null | undefined;
  /** false: its driver has nothing of migration. */
  readonly migration?: boolean | null | undefined;
  /** Base address registers. */
  readonly bars?: readonly BarDefinition[] | null | undefined;
  /** Its requests can have PASIDs (model edu). */
  readonly pasid?: boolean | null | undefined;
  /** It caches translations itself (model edu). */
  readonly ats?: boolean | null | undefined;
  /** It asks for pages that are missing (model edu). */
  readonly pri?: boolean | null | undefined;
  /** PCI Express, or conventional. */
  readonly pcie?: boolean | null | undefined;
  /** It is a virtual function of this one. */
  readonly physfn?: string | null | undefined;
  /** How many virtual functions it can have. */
  readonly sriov_totalvfs?: NumberInCode | null | undefined;
  /** Number of its INTx line; 0 for none. */
  readonly irq?: NumberInCode | null | undefined;
  /** What else has a handler on its line. */
  readonly irq_shared_with?: string | null | undefined;
  /** false: it cannot mask INTx itself. */
  readonly intx_masking?: boolean | null | undefined;
  /** Whether DMA is coherent with the caches. */
  readonly cache_coherent?: boolean | null | undefined;
  /** "none", "shadow", or the image: bytes, or hex digits. */
  readonly rom?: string | Uint8Array | null | undefined;
  /** Of a bridge: the bus below it. */
  readonly secondary_bus?: NumberInCode | null | undefined;
  /** Its memory. */
  readonly numa_node?: NumberInCode | null | undefined;
  /** What cannot be mapped; by the kind of IOMMU when left out. */
  readonly reserved_regions?: readonly ReservedRegionDefinition[] | null | undefined;
  /** Config space: 256 or 4096 bytes, or their hex digits. */
  readonly config?: string | Uint8Array | null | undefined;
  /** s390: what firmware says of it (docs/s390.md). */
  readonly zpci?: Readonly<Record<string, unknown>> | null | undefined;
}

/** A base address register. */
export interface BarDefinition {
  /** 0 to 5, or 6 for the expansion ROM. */
  readonly index: NumberInCode;
  /** Bytes, a power of two. */
  readonly size: NumberInCode;
  /** memory, memory64, io or rom. */
  readonly type: (typeof PCI_BAR_TYPES)[number];
  /** Who else has its addresses reserved. */
  readonly claimed_by?: string | null | undefined;
}

/** A mediated device. */
export interface MdevDeviceDefinition {
  /** Its name. */
  readonly uuid: string;
  /** PCI address of the device that it is a share of. */
  readonly parent: string;
  /** Type below mdev_supported_types. */
  readonly type: string;
  /** What people call it. */
  readonly name?: string | null | undefined;
  /** Says that it is a mediated device, which its UUID says too. */
  readonly bus?: "mdev" | null | undefined;
  /** Whether DMA goes through an IOMMU. */
  readonly iommu_backed?: boolean | null | undefined;
  /** The bound driver; "" for none. */
  readonly driver?: string | null | undefined;
  /** The kind of device that answers. */
  readonly model?: string | null | undefined;
  /** What that kind lets one choose. */
  readonly options?: Readonly<Record<string, unknown>> | null | undefined;
}
