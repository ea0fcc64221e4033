/** The IOMMU modes of the tests, as their library names them: which file is the container, and what is asked of it. */
export const IOMMU_MODES = [
  "vfio_type1_iommu",
  "vfio_type1v2_iommu",
  "iommufd_compat_type1",
  "iommufd_compat_type1v2",
  "iommufd",
] as const;

export type IommuMode = (typeof IOMMU_MODES)[number];

export interface TestResult {
  /** fixture.variant.test */
  readonly name: string;
  /** undefined when the test has no variants by mode; it then runs in the library's default one, iommufd. */
  readonly mode: IommuMode | undefined;
  readonly outcome: "pass" | "fail" | "skip";
  /** Why it was skipped; what it printed when it failed. */
  readonly detail: string;
}

/** One program's run: its results in order, and what it said where it has no single test to blame. */
export interface ProgramResult {
  readonly program: string;
  readonly results: readonly TestResult[];
}

/**
 * Reads what a test program printed: lines of TAP 13 among others (tools/testing/selftests/kselftest_harness.h).
 * @param status the program's exit status; null when it was killed
 */
export function readResults(program: string, output: string, status: number | null): ProgramResult {
  const results: TestResult[] = [];
  let said: string[] = [];
  let planned: number | undefined;
  for (const line of output.split("\n")) {
    const plan = line.match(/^1\.\.(\d+)(?: # SKIP (.*))?$/);
    if (plan) {
      planned = Number(plan[1]);
      if (planned === 0) results.push(test(program, "skip", plan[2] ?? ""));
      continue;
    }
    const line1 = line.match(/^(ok|not ok) \d+ (\S+)(?: # (SKIP|XFAIL) (.*))?$/);
    if (!line1) {
      said.push(line);
      continue;
    }
    const [, word, name, directive, reason] = line1;
    const outcome = word === "not ok" ? "fail" : directive === "SKIP" ? "skip" : "pass";
    results.push(test(name!, outcome, outcome === "fail" ? said.join("\n").trim() : (reason ?? "")));
    said = [];
  }
  // a program that skips before its first test prints no plan; 4 is KSFT_SKIP
  if (planned === undefined && (status === 0 || status === 4)) {
    const skip = output.match(/# SKIP (.*)$/m)?.[1] ?? said.join(" ").trim();
    results.push(test(program, "skip", skip));
  } else if (planned === undefined || results.length < Math.max(planned, 1)) {
    const end = status === null ? "was killed" : `ended with status ${status}`;
    results.push(test(program, "fail", `${end} before its tests did\n${said.join("\n").trim()}`));
  }
  return { program, results };
}

function test(name: string, outcome: TestResult["outcome"], detail: string): TestResult {
  const variant = name.split(".")[1] ?? "";
  // the longest name that fits: iommufd begins three of them
  const mode = [...IOMMU_MODES]
    .sort((a, b) => b.length - a.length)
    .find((name) => variant === name || variant.startsWith(`${name}_`));
  return { name, mode, outcome, detail };
}
