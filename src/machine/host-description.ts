import type { PciBar, PciIdentity, RomContent, TranslationAbilities, ZpciDescription } from "../devices/description.ts";
import type { DeviceOptions } from "../devices/options.ts";
import type { IommuDescription } from "../iommu/description.ts";
import type { ReservedRegion, ReservedRegionType } from "../iommu/group.ts";
import type { Arch } from "../kernel/arch.ts";

/**
 * What a host is, as far as VFIO can tell: the kernel, the IOMMU, the groups and their devices. The normal form that
 * every part of the model reads: all defaults filled in, addresses as bigint, everything else as numbers and booleans.
 * The tidy file format with the same content is in host-schema.ts; defaults come from the kinds of IOMMU
 * (iommu/kinds.ts) and of devices (devices/kinds.ts).
 */
export interface HostDescription {
  /** What people call it: a ready-made name, or the `name` (in a recording, `machine`) of the file. */
  readonly name: string;
  /** One line for `uvfio hosts`; may be empty. */
  readonly description: string;
  /**
   * Kernel release as `major.minor`, e.g. "6.12": decides which requests and answers there are (kernel/releases.ts).
   * Default "6.12".
   */
  readonly kernel: string;
  /** Whose meaning the shared request numbers have. Default "mainline". */
  readonly api: ApiProfile;
  /**
   * Instruction set. Decides the encoding of _IO() (POWER differs) and where interrupts are written to. Default: by
   * IOMMU model.
   */
  readonly arch: Arch;
  /** The kernel's PAGE_SIZE in bytes. Default 4096, on ppc64le 65536 (what distributions ship). */
  readonly pageSize: number;
  /** What answers on /dev/vfio/vfio. Default: "spapr" with an spapr-tce IOMMU, else "type1". */
  readonly vfioContainer: VfioContainer;
  /**
   * Whether /dev/iommu and the devices' own nodes exist (CONFIG_IOMMUFD, CONFIG_VFIO_DEVICE_CDEV). Default: only with
   * vfioContainer "iommufd".
   */
  readonly iommufd: boolean;
  /** The IOMMU. */
  readonly iommu: IommuDescription;
  /** Module parameters at boot. */
  readonly modules: ModuleParameters;
  /** In the order of the file; ids are unique. */
  readonly groups: readonly GroupDescription[];
}

/**
 * mainline, or a proposal that used request numbers which mainline gave to something else (UAPI history in the docs).
 */
export const API_PROFILES = ["mainline", "vsva-v1", "vsva-v7", "rfc-2017"] as const;
export type ApiProfile = (typeof API_PROFILES)[number];

/**
 * PASIDs that a process may have on a host that speaks a proposal, until somebody writes vfio_iommu_type1/pasid_quota
 * (vSVA v1).
 */
export const DEFAULT_PASID_QUOTA = 1000;

/**
 * type1: the container with vfio_iommu_type1; spapr: with vfio_iommu_spapr_tce; iommufd: CONFIG_IOMMUFD_VFIO_CONTAINER.
 */
export const VFIO_CONTAINERS = ["type1", "spapr", "iommufd"] as const;
export type VfioContainer = (typeof VFIO_CONTAINERS)[number];

/** Values of module parameters at boot; programs may write those that sysfs shows as writable. */
export interface ModuleParameters {
  readonly vfio: {
    /**
     * Absent where the kernel was built without CONFIG_VFIO_NOIOMMU: the parameter does not exist. Default: true with
     * IOMMU model none, false with iommufd, else absent.
     */
    readonly enableUnsafeNoiommuMode?: boolean;
  };
  readonly vfioIommuType1: {
    /** Mappings that one container may have; an unsigned int. Default 65535 (U16_MAX, vfio_iommu_type1.c). */
    readonly dmaEntryLimit: number;
    /** Lets devices be used without interrupt remapping. Default false. */
    readonly allowUnsafeInterrupts: boolean;
    /** Maps one page at a time. Default false. */
    readonly disableHugepages: boolean;
  };
  /** How vfio-pci is built and loaded. Absent: as distributions have it. */
  readonly vfioPci?: VfioPciModule;
  readonly iommufd: {
    /** The same for /dev/iommu. Default false. */
    readonly allowUnsafeInterrupts: boolean;
  };
}

/** What of vfio-pci differs between kernels of one release (drivers/vfio/pci/Kconfig, vfio_pci.c). */
export interface VfioPciModule {
  /** CONFIG_VFIO_PCI_VGA. Default: on x86_64, where alone it can be. */
  readonly vga?: boolean;
  /** The parameter that switches VGA access off. Default false. */
  readonly disableVga?: boolean;
  /**
   * CONFIG_VFIO_PCI_DMABUF, which takes CONFIG_PCI_P2PDMA: BARs are exported as dma-bufs, from 6.19 on. Default: true,
   * as distributions build it; false for a kernel with iommufd and on s390, as those were recorded.
   */
  readonly dmaBuf?: boolean;
}

/** An IOMMU group: what sysfs shows below /sys/kernel/iommu_groups/ID. */
export interface GroupDescription {
  /** The group's number: /dev/vfio/ID. */
  readonly id: number;
  /**
   * Kind of the default domain as the `type` file says: DMA, DMA-FQ, identity, blocked, unknown. Default: DMA, unknown
   * where no IOMMU driver gives one.
   */
  readonly type: string;
  /**
   * Content of the `name` file (POWER's "domain0-pe1fd", VFIO's own "vfio-noiommu"); absent where the kernel gives
   * none.
   */
  readonly name?: string;
  /**
   * The IOMMU that translates for this group, where it is another than the host's: a machine may have several of one
   * kind. Default: the host's.
   */
  readonly iommu?: IommuDescription;
  /**
   * There is no IOMMU behind its device, so that the kernel has no group for it: it is there only while VFIO makes one
   * up for a device that a VFIO driver has (no-IOMMU mode, drivers/vfio/group.c:vfio_noiommu_group_alloc). It has one
   * device.
   */
  readonly noIommu?: true;
  /** Sorted by start, without overlaps; includes those of the group's devices. Default: the model's. */
  readonly reservedRegions: readonly ReservedRegion[];
  readonly devices: readonly DeviceDescription[];
}

/** The names that sysfs prints (drivers/iommu/iommu.c: iommu_group_resv_type_string). */
export const RESERVED_REGION_TYPES = [
  "direct",
  "direct-relaxable",
  "reserved",
  "msi",
] as const satisfies readonly ReservedRegionType[];

export type DeviceDescription = PciDeviceDescription | MdevDeviceDescription;

export interface PciDeviceDescription extends PciIdentity {
  readonly bus: "pci";
  /** Domain, bus, slot and function in lower case: "0000:00:1b.0". */
  readonly bdf: string;
  /** What people call it, e.g. "HD audio"; may be empty. */
  readonly name: string;
  /** Default: from config, else by kind of device and ids (devices/kinds.ts), else 0xff0000. */
  readonly class: number;
  /** Default: from config, else 0. */
  readonly revision: number;
  /** Default: from config, else by kind and ids, else 0. */
  readonly subsystemVendor: number;
  readonly subsystemDevice: number;
  /** The bound driver; null for none. Default vfio-pci; for PCI bridges (class 0x0604) none. */
  readonly driver: string | null;
  /** The kind of device that answers (devices/kinds.ts). Default: by ids, else generic. */
  readonly model: string;
  /** What is said of a device of that kind, complete; absent for kinds that have no options. Default: the kind's. */
  readonly options?: DeviceOptions;
  /** Config space bytes, when recorded: 256 or 4096. See pci-config.ts for what there is otherwise. */
  readonly config?: Uint8Array;
  /**
   * Whether programs may map its BARs. A mapping's registers are polled, reads and writes of the device file are exact,
   * so a device that programs can use without mapping it is better not mapped. Default: by kind; in a recording always,
   * as recorded.
   */
  readonly mmap: boolean;
  /** false: it cannot be migrated, whatever its model can do. Default: by model; in a recording false, as recorded. */
  readonly migration?: false;
  /** Sorted by index. Default: by kind and ids, else none. */
  readonly bars: readonly PciBar[];
  /** A VFIO driver that was to have it and whose probe fails (machine/refused-driver.ts); `driver` is null then. */
  readonly refusedDriver?: string;
  /** PCI Express, or conventional. Absent: by what it is (machine/express.ts). */
  readonly pcie?: boolean;
  /** Its physical function, when it is a virtual one (SR-IOV): a BDF of this host. */
  readonly physfn?: string;
  /** How many virtual functions it can have: there on physical functions. */
  readonly sriovTotalVfs?: number;
  /**
   * First VF Offset, VF Stride and VF Device ID. Absent: what its config space or its virtual functions say, else 1, 1
   * and its own id.
   */
  readonly sriov?: { readonly offset: number; readonly stride: number; readonly vfDevice: number };
  /** Number of its INTx line as /sys shows it; 0 for none. Absent: what its config space says. */
  readonly irq?: number;
  /** Something beside PCI devices of this host that has a handler on its INTx line. */
  readonly irqSharedWith?: string;
  /**
   * false: it has no working INTx disable bit, so that VFIO wants its line for itself (pci_intx_mask_supported).
   * Default true.
   */
  readonly intxMasking?: false;
  /**
   * false: its DMA is not coherent with the caches (IOMMU_CAP_CACHE_COHERENCY), beside VFIO_DMA_CC_IOMMU, which is the
   * IOMMU's. Default true.
   */
  readonly cacheCoherent?: false;
  /** What is behind its expansion ROM BAR. Absent: an image of the smallest kind. */
  readonly rom?: RomContent;
  /**
   * A bridge's bus below it. Absent: what its config space says, else as firmware numbers buses (machine/bridges.ts).
   */
  readonly secondaryBus?: number;
  /** Absent: -1, the machine has one memory. */
  readonly numaNode?: number;
  /** What it can do with an IOMMU that nests: in its config space, and in registers of its model. Default: nothing. */
  readonly translation?: TranslationAbilities;
  /** Regions that this device adds to its group's, sorted by start. Default none. */
  readonly reservedRegions: readonly ReservedRegion[];
  /** What firmware says of it on an s390 machine: there on arch s390x, and only there. */
  readonly zpci?: ZpciDescription;
}

/** A mediated device: a software-made share of a parent device (drivers/vfio/mdev). */
export interface MdevDeviceDescription {
  readonly bus: "mdev";
  /** Lower case. */
  readonly uuid: string;
  /** May be empty. */
  readonly name: string;
  /** BDF of the PCI device whose driver made it. */
  readonly parent: string;
  /** Type id below mdev_supported_types, e.g. "i915-GVTg_V5_4". */
  readonly type: string;
  /**
   * Whether DMA goes through an IOMMU. Default false: the parent's driver pins pages itself, and the group has no
   * IOMMU.
   */
  readonly iommuBacked: boolean;
  /** Default vfio_mdev; null for none. */
  readonly driver: string | null;
  /** The kind of device. Default: by type (devices/kinds.ts). */
  readonly model: string;
  /** As a PCI device's. */
  readonly options?: DeviceOptions;
}
