import { fail, hex } from "../../kernel/errors.ts";
import type { SmmuFeatures } from "./registers.ts";

/** A guest's stream table entry, as far as the kernel takes it (Arm IHI 0070, "Stream Table Entry"). */
export interface StreamEntry {
  /** What is done with requests: all dropped, passed to stage 2 alone, or translated by stage 1 first. */
  readonly kind: "abort" | "bypass" | "stage1";
  /** Where the context descriptors are, in the parent's address space. */
  readonly contexts: bigint;
  /** S1Fmt: 0 a linear table, 1 and 2 one of two levels with leaves of 4K and 64K. */
  readonly format: number;
  /** log2 of how many descriptors there are. */
  readonly substreamBits: number;
  /** S1DSS: what becomes of requests without a substream, where there are any. */
  readonly withoutSubstream: number;
  /** S1STALLD: its contexts may not ask for stalls. */
  readonly stallsDisabled: boolean;
}

const V = 1n;
const CONFIG_AT = 1n;
const FORMAT_AT = 4n;
const CONTEXTS = 0xf_ffff_ffff_ffc0n;
const SUBSTREAMS_AT = 59n;
const STALLD = 1n << 27n;
const EATS_AT = 28n;
/** STRTAB_STE_0_NESTING_ALLOWED, STRTAB_STE_1_NESTING_ALLOWED of arm-smmu-v3.h */
const ALLOWED_0 = V | (7n << CONFIG_AT) | (3n << FORMAT_AT) | CONTEXTS | (0x1fn << SUBSTREAMS_AT);
const ALLOWED_1 = 0xffn | STALLD | (3n << EATS_AT);

const KINDS: Readonly<Record<number, StreamEntry["kind"]>> = { 0: "abort", 4: "bypass", 5: "stage1" };
/** EATS of full translation requests; 0 is none. The others split the stages. */
const EATS_MAX = 1n;

const ABORT: StreamEntry = {
  kind: "abort",
  contexts: 0n,
  format: 0,
  substreamBits: 0,
  withoutSubstream: 0,
  stallsDisabled: false,
};

/**
 * arm-smmu-v3-iommufd.c:arm_smmu_validate_vste. EIO for what a guest cannot have. An entry that is not valid is one
 * that drops everything.
 */
export function parseStreamEntry([first, second]: readonly [bigint, bigint]): StreamEntry {
  if ((first & V) === 0n) return ABORT;
  const unknown = [first & ~ALLOWED_0, second & ~ALLOWED_1] as const;
  if (unknown[0] || unknown[1]) {
    fail(
      "EIO",
      `a guest's stream table entry cannot have bits ${hex(unknown[0])} of word 0, ${hex(unknown[1])} of word 1`,
    );
  }
  const config = Number((first >> CONFIG_AT) & 7n);
  const kind = KINDS[config] ?? fail("EIO", `Config ${config} is not 0 (abort), 4 (bypass) or 5 (stage 1)`);
  const eats = (second >> EATS_AT) & 3n;
  if (eats > EATS_MAX) fail("EIO", `EATS ${eats} is not 0 (no translation requests) or 1 (all)`);
  return {
    kind,
    contexts: first & CONTEXTS,
    format: Number((first >> FORMAT_AT) & 3n),
    substreamBits: Number(first >> SUBSTREAMS_AT),
    withoutSubstream: Number(second & 3n),
    stallsDisabled: (second & STALLD) !== 0n,
  };
}

/** Whether the SMMU takes the entry (C_BAD_STE where not): no substreams, formats or stalls that it has not. */
export function isWalkable(entry: StreamEntry, features: SmmuFeatures): boolean {
  if (entry.kind !== "stage1") return true;
  if (entry.stallsDisabled && !features.stalls) return false;
  if (entry.substreamBits > features.substreamBits) return false;
  if (entry.substreamBits === 0) return true;
  return entry.format === 0 || (entry.format < 3 && features.twoLevelContexts);
}
