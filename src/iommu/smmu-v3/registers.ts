import { IommuHwInfoArmSmmuv3 } from "../../uapi/iommufd-hwpt.ts";
import type { SmmuRegisters } from "../description.ts";

/** What the ID registers say of an SMMUv3 (Arm IHI 0070, "SMMU_IDR0" to "SMMU_IDR5"). */
export interface SmmuFeatures {
  readonly stage1: boolean;
  readonly stage2: boolean;
  /** Hardware sets access flags (1), and the dirty state too (2). */
  readonly httu: 0 | 1 | 2;
  /** Two-level tables of context descriptors. */
  readonly twoLevelContexts: boolean;
  /** Transactions can be stalled (the register's STALL_MODEL is not 1). */
  readonly stalls: boolean;
  /** Terminated transactions are always aborts: a context descriptor must say so (TERM_MODEL). */
  readonly onlyAborts: boolean;
  /** Bits of a substream id, which is a PASID's number; 0 without any. */
  readonly substreamBits: number;
  /** Invalidations by range. */
  readonly ranges: boolean;
  /** Hierarchical attributes of tables can be disabled. */
  readonly hierarchyDisable: boolean;
  /** The second stage can force accesses to be cached (S2FWB). */
  readonly forcesWriteBack: boolean;
  /** Small translation tables: input ranges of less than 25 bits. */
  readonly smallTables: boolean;
  /** log2 of the granules that it has. */
  readonly granules: ReadonlySet<number>;
  /** Bits of what it puts out. */
  readonly outputBits: number;
  /** Input addresses of 52 bits. */
  readonly wideInput: boolean;
  /** Descriptors of 4K and 16K tables have addresses of 52 bits too (DS). */
  readonly wideDescriptors: boolean;
}

/** IPS, OAS: how many bits a code means. */
const ADDRESS_BITS = [32, 36, 40, 42, 44, 48, 52] as const;

/** Bits of an address size as CD.IPS and IDR5.OAS encode it; undefined for a reserved code. */
export function addressBitsOf(code: number): number | undefined {
  return ADDRESS_BITS[code];
}

/** IDR0 */
const STAGE_2 = 1 << 0;
const STAGE_1 = 1 << 1;
const HTTU_AT = 6;
const HTTU_ACCESS_AND_DIRTY = 2;
const TWO_LEVEL_CONTEXTS = 1 << 19;
const STALL_AT = 24;
const NO_STALLS = 1;
const ONLY_ABORTS = 1 << 26;
/** IDR1 */
const SUBSTREAM_AT = 6;
const LOW_5_BITS = 0x1f;
/** IDR3 */
const HAD = 1 << 2;
const FWB = 1 << 8;
const STT = 1 << 9;
const RIL = 1 << 10;
/** IDR5 */
const OAS = 0x7;
const GRANULES: readonly (readonly [flag: number, shift: number])[] = [
  [1 << 4, 12],
  [1 << 5, 14],
  [1 << 6, 16],
];
const DS = 1 << 7;
const VAX_AT = 10;

/** Decodes ID registers. Reserved sizes of addresses count as the largest, as the kernel's driver takes them. */
export function featuresOf({ idr }: SmmuRegisters): SmmuFeatures {
  const [idr0 = 0, idr1 = 0, , idr3 = 0, , idr5 = 0] = idr;
  const httu = (idr0 >>> HTTU_AT) & 3;
  return {
    stage1: (idr0 & STAGE_1) !== 0,
    stage2: (idr0 & STAGE_2) !== 0,
    httu: httu === HTTU_ACCESS_AND_DIRTY ? 2 : httu === 1 ? 1 : 0,
    twoLevelContexts: (idr0 & TWO_LEVEL_CONTEXTS) !== 0,
    stalls: ((idr0 >>> STALL_AT) & 3) !== NO_STALLS,
    onlyAborts: (idr0 & ONLY_ABORTS) !== 0,
    substreamBits: (idr1 >>> SUBSTREAM_AT) & LOW_5_BITS,
    ranges: (idr3 & RIL) !== 0,
    hierarchyDisable: (idr3 & HAD) !== 0,
    forcesWriteBack: (idr3 & FWB) !== 0,
    smallTables: (idr3 & STT) !== 0,
    granules: new Set(GRANULES.filter(([flag]) => (idr5 & flag) !== 0).map(([, shift]) => shift)),
    outputBits: addressBitsOf(idr5 & OAS) ?? 48,
    wideInput: ((idr5 >>> VAX_AT) & 3) === 1,
    wideDescriptors: (idr5 & DS) !== 0,
  };
}

/**
 * The registers of QEMU's SMMUv3 (recorded on smmuv3-nest-k72fd, smmuv3-s1-k72fd): stage 1, and stage 2 where it nests;
 * 44 address bits, three granules, invalidation by range, no stalls.
 */
export function usualRegisters(nests: boolean): SmmuRegisters {
  return {
    idr: nests ? [0x0d44_101b, 0x0273_0010, 0, 0x1414, 0, 0x74] : [0x0d44_101a, 0x0273_0010, 0, 0x1404, 0, 0x74],
    iidr: 0,
    aidr: 1,
    coherentWriteBack: nests,
  };
}

/** The same with access flags and dirty state that hardware sets. */
export function withDirtyState(registers: SmmuRegisters): SmmuRegisters {
  const [idr0 = 0, ...others] = registers.idr;
  return { ...registers, idr: [(idr0 | (HTTU_ACCESS_AND_DIRTY << HTTU_AT)) >>> 0, ...others] };
}

/** struct iommu_hw_info_arm_smmuv3 (arm-smmu-v3-iommufd.c:arm_smmu_hw_info). */
export function smmuHwInfo({ idr, iidr, aidr }: SmmuRegisters): Uint8Array {
  return IommuHwInfoArmSmmuv3.encode({ flags: 0, __reserved: 0, idr: [...idr], iidr, aidr });
}
