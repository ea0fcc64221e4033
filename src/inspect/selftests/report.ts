import { IOMMU_MODES, type IommuMode, type ProgramResult, type TestResult } from "./test-results.ts";

/**
 * The table: a program a line, passed/failed/skipped by mode; then every failure with what it printed, and every reason
 * to skip.
 */
export function reportSelftests(programs: readonly ProgramResult[]): string {
  const columns: readonly (IommuMode | undefined)[] = [...IOMMU_MODES, undefined];
  const rows = [
    ["pass/fail/skip", ...columns.map((mode) => mode ?? "default")],
    ...programs.map(({ program, results }) => [
      program,
      ...columns.map((mode) => tally(results.filter((r) => r.mode === mode))),
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
  const all = programs.flatMap(({ results }) => results);
  for (const { name, detail } of all.filter(({ outcome }) => outcome === "fail"))
    lines.push("", `failed: ${name}`, ...detail.split("\n").map((line) => `  ${line}`));
  const skipped = new Map<string, number>();
  for (const { outcome, detail } of all) if (outcome === "skip") skipped.set(detail, (skipped.get(detail) ?? 0) + 1);
  if (skipped.size > 0) lines.push("");
  for (const [reason, count] of skipped) lines.push(`skipped ${count}: ${reason}`);
  lines.push("", summary(all));
  return lines.join("\n");
}

function summary(results: readonly TestResult[]): string {
  const [pass, fail, skip] = counts(results);
  return `${pass} passed, ${fail} failed, ${skip} skipped`;
}

function tally(results: readonly TestResult[]): string {
  return results.length === 0 ? "-" : counts(results).join("/");
}

function counts(results: readonly TestResult[]): readonly number[] {
  return (["pass", "fail", "skip"] as const).map(
    (outcome) => results.filter((result) => result.outcome === outcome).length,
  );
}
