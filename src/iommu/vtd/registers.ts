import { IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17, IommuHwInfoVtd } from "../../uapi/iommufd-hwpt.ts";
import type { IommuDescription, UnitRegisters } from "../description.ts";
import type { CapturedUnit, SysfsUnit, UnitSource } from "../kind.ts";
import type { IommuUnit } from "../unit.ts";

// Fields of CAP_REG and ECAP_REG (Intel Virtualization Technology for Directed I/O, "Capability Register", "Extended
// Capability Register"; the kernel's masks are in intel/iommu.h).

/**
 * 64 K domain ids, fault registers at 0x220, pages of 2 MiB and 1 GiB, selective invalidation of up to 2^18 pages,
 * drains reads and writes.
 */
const CAP_BASE = 0xd2_008c_2200_0086n;
const CAP_WIDTH_AT = 16n;
const CAP_2M = 1n << 34n;
const CAP_1G = 1n << 35n;
/** First-stage tables may have pages of 1 GiB (FS1GP), and five levels (FS5LP). */
const CAP_FS1GP = 1n << 56n;
const CAP_FS5LP = 1n << 60n;
/** Widths that second-stage tables come in, and their bit in SAGAW. */
const WIDTHS: readonly (readonly [bits: number, flag: bigint])[] = [
  [39, 1n << 9n],
  [48, 1n << 10n],
  [57, 1n << 11n],
];

/** Queued invalidation, interrupt remapping, pass-through, registers at 0xf0. */
const ECAP_BASE = 0xf0_0f4an;
const ECAP_INTERRUPT_REMAPPING = 1n << 3n;
const ECAP_SNOOP_CONTROL = 1n << 7n;
const ECAP_NEST = 1n << 26n;
const ECAP_SUPERVISOR = 1n << 31n;
const ECAP_PASID = 1n << 40n;
const ECAP_SCALABLE_MODE = 1n << 43n;
const ECAP_SECOND_STAGE = 1n << 46n;
const ECAP_FIRST_STAGE = 1n << 47n;

/**
 * What a unit that nests has beyond first-stage tables: device TLBs (DT, 2), nested translation (NEST, 26), page
 * requests (PRS, 29), supervisor requests (SRS, 31), extended accessed flags (EAFS, 34), PASIDs of 20 bits (PSS, 35-39,
 * is 19), PASIDs (40), page-request draining (PDS, 42), second-stage translation (SSTS, 46).
 */
const ECAP_NESTING =
  (1n << 2n) |
  ECAP_NEST |
  (1n << 29n) |
  ECAP_SUPERVISOR |
  (1n << 34n) |
  (19n << 35n) |
  ECAP_PASID |
  (1n << 42n) |
  ECAP_SECOND_STAGE;

/**
 * With dirty bits: scalable mode with second-stage tables, access and dirty bits in them, and coherent walks (SMTS,
 * SLADS, SSTS, SMPWC; all that the kernel's ssads_supported() asks for).
 */
const ECAP_DIRTY = ECAP_SCALABLE_MODE | (1n << 45n) | ECAP_SECOND_STAGE | (1n << 48n);

/** Which tables Linux uses: the legacy mode's; in scalable mode the second stage's, or the first stage's. */
export type VtdMode = "legacy" | "second-stage" | "first-stage";

const ECAP_OF_MODE: Readonly<Record<VtdMode, bigint>> = {
  legacy: 0n,
  // as QEMU's x-scalable-mode=on has it without x-flts
  "second-stage": ECAP_SCALABLE_MODE | ECAP_SUPERVISOR | ECAP_SECOND_STAGE,
  "first-stage": ECAP_SCALABLE_MODE | ECAP_FIRST_STAGE,
};

/** What the registers say of a unit. */
interface VtdFacts {
  /** Of the tables. */
  readonly bits: number;
  readonly cacheCoherent: boolean;
  readonly interruptRemapping: boolean;
  readonly nests: boolean;
  readonly dirtyTracking: boolean;
}

/** The registers as QEMU's unit has them (recorded on intel39 and intelsm), with the facts of this one. */
function registersOf(facts: VtdFacts, mode: VtdMode): UnitRegisters {
  let cap = CAP_BASE | (BigInt(facts.bits - 1) << CAP_WIDTH_AT);
  for (const [width, flag] of WIDTHS) if (width <= facts.bits) cap |= flag;
  if (mode === "first-stage") cap |= CAP_FS1GP;
  if (facts.nests) cap |= CAP_FS5LP;
  const ecap =
    ECAP_BASE |
    ECAP_OF_MODE[mode] |
    (facts.cacheCoherent ? ECAP_SNOOP_CONTROL : 0n) |
    (facts.dirtyTracking ? ECAP_DIRTY : 0n) |
    (facts.nests ? ECAP_NESTING : 0n);
  return { cap, ecap: facts.interruptRemapping ? ecap : ecap & ~ECAP_INTERRUPT_REMAPPING };
}

/** struct iommu_hw_info_vtd of a unit. */
export function vtdHwInfo(unit: IommuUnit, mode: VtdMode, bits: number): Uint8Array {
  const { cap, ecap } =
    unit.registers ??
    registersOf(
      {
        bits,
        cacheCoherent: unit.cacheCoherent,
        // recorded with it also where the kernel does not use it
        interruptRemapping: true,
        nests: unit.secondStage !== undefined,
        dirtyTracking: unit.dirtyTracking,
      },
      mode,
    );
  return IommuHwInfoVtd.encode({ flags: IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17, cap_reg: cap, ecap_reg: ecap });
}

/** /sys/class/iommu/dmarN, whose registers DPDK takes the address width from. */
export function vtdSysfs(mode: VtdMode, bitsOf: (last: bigint) => number): SysfsUnit {
  return {
    name: "dmar0",
    names: /^dmar\d+$/,
    attributes: (description) => {
      const { cap, ecap } = description.registers ?? registersOf(factsOf(description, bitsOf), mode);
      return [
        ["intel-iommu/cap", cap.toString(16)],
        ["intel-iommu/ecap", ecap.toString(16)],
        ["intel-iommu/address", "fed90000"],
        ["intel-iommu/version", "1:0"],
      ];
    },
    capture: captureVtd,
  };
}

function factsOf(description: IommuDescription, bitsOf: (last: bigint) => number): VtdFacts {
  return {
    bits: bitsOf(description.apertureLast),
    cacheCoherent: description.cacheCoherent,
    interruptRemapping: description.interruptRemapping,
    nests: description.nesting ?? false,
    dirtyTracking: description.dirtyTracking ?? false,
  };
}

/**
 * A real unit. MGAW is the width less one; a domain is as wide as the deepest tables, but not wider than that
 * (drivers/iommu/intel/iommu.c). Linux uses first-stage tables where scalable mode is on and the unit has them.
 */
function captureVtd(source: UnitSource): CapturedUnit {
  const cap = source.register("intel-iommu/cap");
  const ecap = source.register("intel-iommu/ecap");
  if (cap === undefined || ecap === undefined) {
    source.miss(`registers of ${source.name} cannot be read: usual values (iommu.address_bits, iommu.page_sizes)`);
    return { model: "intel-vtd" };
  }
  const has = (register: bigint, flags: bigint) => (register & flags) === flags;
  const isScalable = has(ecap, ECAP_SCALABLE_MODE) && /\bintel_iommu=\S*sm_on/.test(source.commandLine);
  const hasFirstStage = has(ecap, ECAP_SCALABLE_MODE | ECAP_FIRST_STAGE);
  const firstStage = hasFirstStage && isScalable;
  if (hasFirstStage && !firstStage)
    source.miss(
      `whether ${source.name} runs in scalable mode is not in /sys: second-stage tables assumed (else iommu.model: intel-vtd-sm)`,
    );
  const tables = WIDTHS.filter(([, flag]) => has(cap, flag)).at(-1)?.[0] ?? 39;
  const nests = firstStage && has(ecap, ECAP_NEST | ECAP_PASID | ECAP_SECOND_STAGE);
  return {
    model: firstStage ? "intel-vtd-sm" : isScalable ? "intel-vtd-ss" : "intel-vtd",
    address_bits: Math.min(tables, Number((cap >> CAP_WIDTH_AT) & 0x3fn) + 1),
    page_sizes: 0x1000n | (has(cap, CAP_2M) ? 0x20_0000n : 0n) | (has(cap, CAP_1G) ? 0x4000_0000n : 0n),
    cache_coherent: has(ecap, ECAP_SNOOP_CONTROL),
    interrupt_remapping: has(ecap, ECAP_INTERRUPT_REMAPPING),
    dirty_tracking: isScalable && has(ecap, ECAP_DIRTY) && (!firstStage || nests),
    ...(nests && { nesting: true }),
    vtd_cap: cap,
    vtd_ecap: ecap,
  };
}
