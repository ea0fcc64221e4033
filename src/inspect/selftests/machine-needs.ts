import { readFileSync } from "node:fs";
import { CAP_SYS_RESOURCE } from "../../kernel/task.ts";
import type { ProgramResult, TestResult } from "./test-results.ts";

/** The most that a test takes: 128 MiB, and two pages of 2 MiB beside. */
const HUGE_PAGES = 66;

/** What some tests of iommufd want of the machine, and fail without instead of being skipped. */
interface Need {
  readonly tests: RegExp;
  readonly isMet: () => boolean;
  readonly text: string;
}

const NEEDS: readonly Need[] = [
  {
    tests: /huge|access_domain_destory/,
    isMet: () => number("/proc/meminfo", /^HugePages_Free:\s+(\d+)$/m, 10) >= HUGE_PAGES,
    text: `wants huge pages (sysctl vm.nr_hugepages=${HUGE_PAGES})`,
  },
  {
    tests: /^iommufd\.global_options$|^change_process\.account_(?:user|mm)\./,
    isMet: () => (number("/proc/self/status", /^CapEff:\s+([0-9a-f]+)$/m, 16) / 2 ** CAP_SYS_RESOURCE) % 2 >= 1,
    text: "wants CAP_SYS_RESOURCE",
  },
];

/** Tests that fail for want of something that this machine has not are skipped, with that as the reason. */
export function skipUnmet({ program, results }: ProgramResult): ProgramResult {
  return { program, results: results.map(skipWhenUnmet) };
}

function skipWhenUnmet(result: TestResult): TestResult {
  if (result.outcome !== "fail") return result;
  const need = NEEDS.find(({ tests, isMet }) => tests.test(result.name) && !isMet());
  return need ? { ...result, outcome: "skip", detail: need.text } : result;
}

/** A number in a file of the kernel's; 0 where there is none. */
function number(path: string, pattern: RegExp, base: number): number {
  try {
    return Number.parseInt(pattern.exec(readFileSync(path, "utf8"))?.[1] ?? "0", base);
  } catch {
    return 0;
  }
}
