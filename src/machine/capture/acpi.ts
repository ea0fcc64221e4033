import type { SourceTree } from "./source-tree.ts";

const TABLES = "sys/firmware/acpi/tables";
const KINDS: Readonly<Record<string, string>> = { DMAR: "Intel VT-d", IVRS: "AMD-Vi", IORT: "Arm SMMU" };
/** Bytes of an ACPI table's common header (ACPI specification, "System Description Table Header"). */
const HEADER = 36;

export interface AcpiFacts {
  /** What firmware describes, for a comment: "DMAR: Intel VT-d, 39 host address bits, interrupt remapping". */
  readonly lines: readonly string[];
  /** Whether there is a table that describes an IOMMU. */
  readonly hasIommu: boolean;
}

/** The firmware's tables about IOMMUs. Their names are for all, their contents for root. */
export function captureAcpi(tree: SourceTree): AcpiFacts {
  const there = (tree.list(TABLES) ?? []).filter((name) => name in KINDS);
  const lines = there.map((name) => {
    const bytes = tree.bytes(`${TABLES}/${name}`);
    if (!bytes) {
      tree.miss(`ACPI table ${name} can be read only by root: what firmware says is left out (nothing depends on it)`);
      return `${name}: ${KINDS[name]}`;
    }
    return `${name}: ${KINDS[name]}${details(name, bytes)}`;
  });
  return { lines, hasIommu: there.length > 0 };
}

function details(name: string, bytes: Buffer): string {
  if (bytes.length < HEADER + 4) return "";
  if (name === "DMAR") {
    // VT-d specification, "DMA Remapping Reporting Structure": host address width less one, flags with INTR_REMAP in
    // bit 0
    const remapping = (bytes[HEADER + 1]! & 1) === 1 ? "interrupt remapping" : "no interrupt remapping";
    return `, ${bytes[HEADER]! + 1} host address bits, ${remapping}`;
  }
  if (name === "IVRS") {
    // AMD I/O Virtualization Technology specification, "IVRS IVinfo": PASize in 14:8, VASize in 21:15
    const info = bytes.readUInt32LE(HEADER);
    return `, ${(info >> 8) & 0x7f} physical and ${(info >> 15) & 0x7f} virtual address bits`;
  }
  return "";
}
