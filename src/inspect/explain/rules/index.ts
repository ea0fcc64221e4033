import type { LogRule, RuleSet } from "../rule.ts";
import { DPDK } from "./dpdk.ts";
import { GENERAL } from "./general.ts";
import { KERNEL_IOMMU } from "./kernel-iommu.ts";
import { KERNEL_VFIO } from "./kernel-vfio.ts";
import { LIBVIRT } from "./libvirt.ts";
import { ORCHESTRATORS } from "./orchestrators.ts";
import { QEMU } from "./qemu.ts";
import { RUST_VMMS } from "./rust-vmms.ts";

export const RULE_SETS: readonly RuleSet[] = [
  RUST_VMMS,
  DPDK,
  QEMU,
  LIBVIRT,
  KERNEL_VFIO,
  KERNEL_IOMMU,
  ORCHESTRATORS,
  GENERAL,
];

/** A rule and who writes its line. */
export interface OwnedRule extends LogRule {
  readonly program: string;
}

const ORDER = ["harmless", "failure", "consequence"];

/**
 * All rules, in the order in which a line is tried: what is harmless is named exactly, and a failure says more than
 * what follows from one.
 */
export const RULES: readonly OwnedRule[] = RULE_SETS.flatMap(({ program, rules }) =>
  rules.map((rule) => ({ ...rule, program })),
).sort((a, b) => ORDER.indexOf(a.kind ?? "failure") - ORDER.indexOf(b.kind ?? "failure"));
