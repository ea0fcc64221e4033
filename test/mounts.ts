import { readFileSync } from "node:fs";

/**
 * The mounts of this process that a run could have left: those that cover /dev and /sys, and those below a folder of
 * the test. What others mount elsewhere meanwhile is not looked at.
 */
export function mountsOfRuns(...folders: string[]): string[] {
  const places = ["/dev", "/sys", ...folders];
  return readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .filter((line) => {
      const at = line.split(" ")[1];
      return at !== undefined && places.some((place) => at === place || at.startsWith(`${place}/`));
    });
}
