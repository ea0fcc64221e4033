import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { finished, uvfio } from "./uvfio.ts";

/** The commands that `uvfio --help` lists. */
function commands(): string[] {
  const [, list = ""] = /^Commands:\n([\s\S]*?)\n\n/m.exec(uvfio("--help").stdout) ?? [];
  const names = [...list.matchAll(/^ {2}(\S+)/gm)].map((match) => match[1]!);
  return names.filter((name) => name !== "help");
}

describe("the table of commands and options", () => {
  test("the manual page has every command with its options", () => {
    const page = uvfio("man");
    expect(page.status).toBe(0);
    const plain = page.stdout.replaceAll("\\-", "-");
    expect(commands().length).toBeGreaterThan(8);
    for (const name of commands()) {
      expect(plain).toContain(`.SS "uvfio ${name} `);
      for (const [option] of uvfio(name, "--help").stdout.matchAll(/--[a-z-]+(?= )/g)) expect(plain).toContain(option);
    }
    // examples that stand before a command's help and after it
    expect(plain).toContain("uvfio fit -m amd --memory 1010G");
    expect(plain).toContain("uvfio trace --summary t.jsonl");
  });

  test.skipIf(spawnSync("man", ["--version"]).status !== 0)("man(1) has nothing to complain of (needs man)", () => {
    const shown = finished("man", ["--warnings", "-l", "-"], { input: uvfio("man").stdout });
    expect(shown.stderr).toBe("");
    expect(shown.stdout).toContain("NAME");
  });
});

describe("--json", () => {
  test("hosts: the list, and a host with all its fields", () => {
    const list = JSON.parse(uvfio("hosts", "--json").stdout) as { name: string }[];
    expect(list.map(({ name }) => name)).toContain("lab");
    const intel = JSON.parse(uvfio("hosts", "intel", "--json").stdout);
    expect(intel.iommu).toMatchObject({ model: "intel-vtd", aperture_start: 0, aperture_end: "0x1ffffffffffffff" });
    expect(intel.groups[0].devices[0]).toMatchObject({ bdf: "0000:00:02.0", driver: "i915" });
  });

  test("iova-list: what each device leaves", () => {
    const run = uvfio("iova-list", "--json", "0000:00:1b.0", "0000:00:1b.0");
    expect(JSON.parse(run.stdout)).toEqual([
      {
        device: "0000:00:1b.0",
        page_sizes: "0xfffffffffffff000",
        iova_ranges: [
          { start: "0x0", last: "0xfedfffff" },
          { start: "0xfef00000", last: "0x1ffffffffffffff" },
        ],
        dma_avail: 65535,
      },
      { device: "0000:00:1b.0" },
    ]);
  });
});
