import type { Arch } from "../kernel/arch.ts";
import type { FeatureName, Release } from "../kernel/releases.ts";
import type { IommuDescription, SmmuRegisters, SpaprPlatform } from "./description.ts";
import type { ReservedRegion } from "./group.ts";
import type { NestingIommus } from "./nesting-iommus.ts";
import type { IommufdFacts, IommuUnit } from "./unit.ts";

/** A range of IOVAs in bytes, both ends included. */
export interface Aperture {
  readonly start: bigint;
  readonly last: bigint;
}

/** A region that groups behind a kind of IOMMU have, and what people call it. */
export interface KnownRegion {
  readonly region: ReservedRegion;
  /** For messages: "the x86 interrupt window". */
  readonly name: string;
}

/**
 * All facts and behaviour of one kind of IOMMU that do not need its page tables. A kind is a folder under iommu/ and a
 * line in kinds.ts; nobody outside the folder names it.
 */
export interface IommuKind {
  /** In host files: "intel-vtd". */
  readonly model: string;
  /** For messages: "Intel VT-d". */
  readonly title: string;
  /** False for the kind that stands for no IOMMU at all. */
  readonly translates: boolean;
  /** The machine that it is usually found in. */
  readonly usualArch: Arch;
  /** Whose CPUs come with it, where the arch leaves that open. */
  readonly cpuVendor?: "amd" | "intel";
  /** Further texts that mean it in a recording's host.json: "intel-vtd scalable mode, first-stage". */
  means?(text: string): boolean;
  readonly defaults: IommuDefaults;
  /**
   * What its tables translate, for kinds whose devices reach less: an aperture in a description is then the devices'
   * range, and what lies outside of it is reserved. Absent where the aperture is all that there is.
   */
  readonly geometry?: Aperture;
  /** Keys of `iommu` in a host file that only this kind has. */
  readonly ownKeys: readonly string[];
  /** Makes its IOMMUs as those use them who nest page tables; undefined where a host file cannot ask for `nesting`. */
  readonly makeNesting: ((description: IommuDescription) => NestingIommus) | undefined;
  /** The vSVA proposals know IOMMUs of this kind that nest; absent where they do not. */
  readonly nestsForProposals?: true;
  /**
   * What follows from what only this kind has in a host file, or a recording; it counts above all else. Absent where
   * nothing does.
   */
  describe?(said: SaidOfIommu): Partial<IommuDescription>;
  /** What of it contradicts something else: the key, and why. Undefined where nothing does. */
  contradiction?(said: SaidOfIommu): readonly [key: "nesting" | "dirty_tracking", why: string] | undefined;
  /** Whether it may ask for `dirty_tracking`. */
  readonly tracksDirtyPages: "yes" | "when nesting" | "no";
  /** What a kernel must have for it; absent where every release with VFIO does. */
  readonly needs?: FeatureName;
  readonly driver: IommuDriverFacts;
  readonly iommufd: IommufdFacts;
  /** The same of one IOMMU, where its registers decide; undefined: `iommufd`. */
  iommufdOf?(description: IommuDescription): IommufdFacts | undefined;
  /** A kernel has it only when it was built for its own tests; then it can inject faults, too. */
  readonly isForSelftests?: true;
  /** How it shows in /sys/class/iommu; absent for kinds that register nothing there. */
  readonly sysfs?: SysfsUnit;
}

/** What a host file says of an IOMMU, as far as a kind may want to know it. */
export interface SaidOfIommu {
  readonly addressBits: number | undefined;
  readonly apertureLast: bigint | undefined;
  readonly cacheCoherent: boolean | undefined;
  readonly nesting: boolean | undefined;
  readonly dirtyTracking: boolean | undefined;
  readonly smmu: Omit<SmmuRegisters, "coherentWriteBack"> | undefined;
  readonly coherentWriteBack: boolean | undefined;
}

/** What a host file leaves open. */
export interface IommuDefaults {
  /** The aperture when nothing else tells. */
  readonly aperture: Aperture;
  /** The last IOVA of a domain on a unit with so many address bits, and the other way round. */
  lastOfBits(bits: number): bigint;
  bitsOfLast(last: bigint): number;
  /** Bitmap in bytes. */
  pageSizes(pageSize: number, platform?: SpaprPlatform): bigint;
  readonly cacheCoherent: boolean;
  interruptRemapping(arch: Arch): boolean;
  /** The regions of a group that lists none. */
  reservedRegions(arch: Arch): readonly KnownRegion[];
  /** Content of a group's `type` file. */
  readonly groupType: "DMA" | "DMA-FQ" | "unknown";
  /** What answers on /dev/vfio/vfio. */
  readonly container: "type1" | "spapr";
}

/** How the kernel's driver behaves, for the units that it presents (IommuUnit has the meaning of each). */
export interface IommuDriverFacts {
  /** Page sizes that the driver claims, whatever the unit's tables have; absent where it says the unit's. */
  claimedPageSizes?(release: Release): bigint | undefined;
  writeImpliesRead(release: Release): boolean;
  refusesDirectRegions(release: Release): boolean;
  readonly beyondAperture: IommuUnit["beyondAperture"];
  /** As IommuUnit has it. */
  readonly doorbell?: bigint;
  /** The errno of VFIO_TYPE1_NESTING_IOMMU, where no proposal with nesting is spoken. */
  readonly nestingErrno: IommuUnit["nesting"];
  /** Second-stage tables of a unit that nests; absent where the kind does not. */
  secondStage?(unit: IommuUnit, release: Release, description: IommuDescription): IommuUnit;
  /** Its domains take mappings for neither reading nor writing. */
  readonly mapsNoAccess: boolean;
  /** Its driver wants page requests of a device before its page tables may report faults. */
  readonly faultsNeedPageRequests: boolean;
  /** Its IOMMU knows PASID tables, which the vSVA proposals bind guests' page tables in. */
  readonly hasPasidTables: boolean;
}

/** A driver without anything of its own. What a kind does differently stands beside it. */
export const PLAIN_DRIVER: IommuDriverFacts = {
  writeImpliesRead: () => false,
  refusesDirectRegions: () => false,
  beyondAperture: undefined,
  nestingErrno: "EINVAL",
  mapsNoAccess: false,
  faultsNeedPageRequests: false,
  hasPasidTables: false,
};

/** A kind without anything of its own for iommufd. */
export const PLAIN_IOMMUFD: IommufdFacts = {
  hwptFlags: undefined,
  nests: false,
  infoType: 0,
  info: () => new Uint8Array(0),
};

/** An IOMMU in /sys/class/iommu (iommu_device_sysfs_add() of its driver). */
export interface SysfsUnit {
  /** Name of the first one. */
  readonly name: string;
  /** The name of a function's own unit, where each function has one. */
  ofFunction?(functionId: number): string;
  /** All names that the driver gives. */
  readonly names: RegExp;
  /** Attributes below its folder: path and text of a line. */
  attributes(description: IommuDescription): readonly (readonly [path: string, text: string])[];
  /** What a host's own attributes say of a unit, for a host file; a line in `miss` for what they do not. */
  capture(source: UnitSource): CapturedUnit;
}

/** The attributes of one unit on a machine that is captured. */
export interface UnitSource {
  readonly name: string;
  /** A hexadecimal attribute; undefined where it cannot be read. */
  register(path: string): bigint | undefined;
  /** What the kernel was started with. */
  readonly commandLine: string;
  /** Notes what the host file will not say. */
  miss(what: string): void;
}

/** A unit that tells nothing of what it translates. */
export function captureWithoutFacts(model: string, source: UnitSource): CapturedUnit {
  source.miss(`what the ${model} translates is not in /sys: usual values (iommu.aperture_end, iommu.page_sizes)`);
  return { model };
}

/** Keys of a host file's `iommu`. */
export interface CapturedUnit {
  readonly model: string;
  readonly address_bits?: number;
  readonly page_sizes?: bigint;
  readonly cache_coherent?: boolean;
  readonly interrupt_remapping?: boolean;
  readonly dirty_tracking?: boolean;
  readonly nesting?: true;
  readonly vtd_cap?: bigint;
  readonly vtd_ecap?: bigint;
}
