import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { scratchFolder, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const file = (name: string, text: string) => {
  const path = join(scratch.path, name);
  writeFileSync(path, text);
  return path;
};

describe("uvfio fit", () => {
  test("says what the help's first example promises: 1010 GiB on amd fits, relocated above 1 TiB", () => {
    expect(uvfio("fit", "--help").stdout).toMatch(/^Examples:\n {2}uvfio fit -m amd --memory 1010G /);
    const { status, stdout, stderr } = uvfio("fit", "-m", "amd", "--memory", "1010G");
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("0x10000000000-0x1fbffffffff  1008 GiB  RAM above 1 TiB     fits\n");
    expect(stdout).toContain("at least 42");
    expect(stdout.split("\n")[0]).toBe("It fits.");
    expect(stdout).not.toContain("sources of the layout");
    expect(uvfio("fit", "-m", "amd", "--memory", "1010G", "--explain").stdout).toMatch(
      /^sources of the layout\n {2}QEMU hw\/i386\/pc_q35\.c/m,
    );
  });

  test("says for the second that it does not fit, which region is in the way and what would cure it", () => {
    const { status, stdout, stderr } = uvfio("fit", "-m", "amd", "--memory", "1011G", "--vmm", "pc-q35-7.0");
    expect([status, stderr]).toEqual([1, ""]);
    expect(stdout).toMatch(
      /^It does not fit:\n {2}RAM above 4 GiB: 0xfd00000000-0xfd3fffffff lies in .*0xfd00000000-0xffffffffff \(reserved\)/m,
    );
    expect(stdout).toMatch(/^what would cure it\n {2}relocate above 1 TiB: .*\n {2}less memory: 1010 GiB/m);
    expect(stdout).not.toContain("\x1b");
  });

  test("lines up its columns", () => {
    const lines = uvfio("fit", "-m", "amd", "--memory", "64G").stdout.split("\n");
    const table = lines.slice(lines.findIndex((line) => line.startsWith("guest range")));
    const rows = table.slice(0, table.indexOf(""));
    expect(rows.length).toBeGreaterThan(3);
    for (const heading of ["size", "what", "verdict"]) {
      const column = rows[0]!.indexOf(heading);
      for (const row of rows) expect(row.slice(column - 2, column + 1)).toMatch(/^ {2}\S/);
    }
  });

  test("prints JSON for programs", () => {
    const { status, stdout } = uvfio("fit", "-m", "amd", "--memory", "1T", "--vmm", "crosvm", "--json");
    expect(status).toBe(1);
    const answer = JSON.parse(stdout);
    expect(answer.fits).toBe(false);
    expect(answer.ranges[1]).toMatchObject({
      start: "0x100000000",
      kind: "ram",
      fits: false,
      collisions: [{ start: "0xfd00000000", last: "0xffffffffff", size: String(12 * 2 ** 30) }],
    });
    expect(answer.valid_ranges).toHaveLength(3);
    expect(answer.sources.length).toBeGreaterThan(0);
  });

  test("finds the most that fits, and judges several hosts", () => {
    const most = uvfio("fit", "-m", "amd", "--max", "--vmm", "pc-q35-7.0");
    expect([most.status, most.stderr]).toEqual([0, ""]);
    expect(most.stdout).toMatch(/^At most 1010 GiB fits\.\nIt fits\.\n/);
    const both = uvfio("fit", "-m", "intel", "-m", "amd", "--memory", "1011G", "--vmm", "pc-q35-7.0");
    expect([both.status, both.stderr]).toEqual([1, ""]);
    expect(both.stdout).toMatch(
      /^intel +fits +1011\namd +does not fit +1011 +RAM above 4 GiB: .*\n\n2 hosts of 2 shapes; fits: 1, does not fit: 1$/m,
    );
    const lines = uvfio("fit", "-m", "intel", "-m", "amd", "--memory", "1T", "--vmm", "crosvm", "--json").stdout;
    const rows = lines
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(rows.map(({ verdict }) => verdict)).toEqual(["fits", "does-not-fit"]);
  });

  test("warns of BARs that firmware places beyond the IOMMU, and says what keeps them below", () => {
    const host = file(
      "bars.yaml",
      'name: b\niommu: { model: intel-vtd, address_bits: 39 }\ngroups: [{ id: 1, devices: [{ bdf: 0000:00:04.0, id: "1234:11e8", bars: [{ index: 1, size: 0x400000000, type: memory64 }] }] }]\n',
    );
    const { status, stdout } = uvfio("fit", "-m", host, "--memory", "32G", "--phys-bits", "46", "--firmware", "ovmf");
    expect(status).toBe(0);
    expect(stdout).toContain("64-bit BARs under OVMF: a BAR at 0x380000000000-0x3fffffffffff cannot be mapped");
    expect(stdout).toContain("<maxphysaddr mode='passthrough' limit='39'/>");
    expect(uvfio("fit", "-m", host, "--memory", "32G", "--phys-bits", "39").stdout).not.toContain("warning");
    // its VMM ends when it cannot map a BAR
    const ch = ["fit", "-m", host, "--memory", "8G", "--vmm", "cloud-hypervisor"];
    expect(uvfio(...ch, "--phys-bits", "46").status).toBe(1);
    expect(uvfio(...ch, "--phys-bits", "39").stdout).toMatch(/^It fits\.$/m);
    const unsaid = uvfio(...ch);
    expect(unsaid.status).toBe(0);
    expect(unsaid.stdout).toMatch(
      /^It fits if\n {2}the guest's CPU has at most 39 address bits \(--cpus max_phys_bits=39/,
    );
    expect(JSON.parse(uvfio(...ch, "--json").stdout)).toMatchObject({ verdict: "fits-if", conditions: [{}] });
  });

  test("refuses two devices of one group behind a vIOMMU", () => {
    const host = file(
      "group.yaml",
      'name: g\niommu: { model: intel-vtd }\ngroups: [{ id: 1, devices: [{ bdf: 0000:00:04.0, id: "1234:11e8" }, { bdf: 0000:00:04.1, id: "1234:11e8" }] }]\n',
    );
    expect(uvfio("fit", "-m", host, "--memory", "1G").status).toBe(0);
    expect(uvfio("fit", "-m", host, "--memory", "1G", "--viommu", "--device", "0000:00:04.0").status).toBe(0);
    const { status, stdout } = uvfio("fit", "-m", host, "--memory", "1G", "--viommu");
    expect(status).toBe(1);
    expect(stdout).toContain("0000:00:04.0 and 0000:00:04.1 are in one group (1)");
    expect(stdout).toContain("pcie-pci-bridge");
  });

  test("takes host files, recordings and ranges", () => {
    const host = file(
      "narrow.yaml",
      'name: narrow\niommu: { model: intel-vtd, address_bits: 39 }\ngroups: [{ id: 1, devices: [{ bdf: 0000:00:04.0, id: "1234:11e8" }] }]\n',
    );
    expect(uvfio("fit", "-m", host, "--memory", "1T").status).toBe(1);
    expect(uvfio("fit", "-m", host, "--memory", "64G").status).toBe(0);
    const ranges = file("ranges.txt", "# mine\n0x0-0x7fffffff RAM\n0x8000000000+1G ram above the aperture\n");
    const run = uvfio("fit", "-m", host, "--ranges", ranges);
    expect(run.status).toBe(1);
    expect(run.stdout).toContain("move above the aperture: 0x100000000-0x13fffffff");
  });

  test.each([
    ["no memory", [], /say how much memory the guest has/],
    ["no size", ["--memory", "lots"], /--memory: not a size: "lots" \(write it like 64G/],
    ["an impossible size", ["--memory", "17E"], /more than 64 bits/],
    [
      "a guest that ends beyond 64 bits",
      ["--memory", "18446744073709547520"],
      /would end beyond 64 bits in QEMU pc-q35/,
    ],
    ["a size of half a page", ["--memory", "1048577"], /no multiple of the host's page size/],
    ["less than a MiB", ["--memory", "4K"], /too little/],
    ["an unknown VMM", ["--memory", "1G", "--vmm", "xen"], /unknown VMM "xen" \(there are: q35/],
    ["an unknown version", ["--memory", "1G", "--vmm-version", "new"], /not a QEMU version/],
    [
      "a VMM of another architecture",
      ["--memory", "1G", "--vmm", "virt"],
      /virt is a machine of arm64, the host is one of x86_64/,
    ],
    ["an unknown device", ["--memory", "1G", "--device", "0000:09:00.0"], /is not on host intel; its devices:/],
    ["a bad CPU vendor", ["--memory", "1G", "--cpu-vendor", "via"], /neither amd nor intel/],
    ["too many address bits", ["--memory", "1G", "--phys-bits", "65"], /from 32 to 64/],
    ["an unknown firmware", ["--memory", "1G", "--firmware", "bios"], /there are: seabios, ovmf, direct/],
    ["a firmware where there is none", ["--memory", "1G", "--firmware", "ovmf", "--vmm", "crosvm"], /crosvm does not/],
    ["the most and some", ["--max", "--memory", "1G"], /--max looks for the memory/],
    ["a bad piece", ["--memory", "1G", "--chunk", "1000"], /--chunk: .*no multiple of 4 KiB/],
    ["a bad limit", ["--memory", "1G", "--memlock", "much"], /--memlock: not a size/],
    ["less than there is", ["--memory", "4G", "--max-memory", "2G"], /less than --memory/],
    ["hotplug without a place", ["--memory", "4G", "--max-memory", "8G", "--vmm", "crosvm"], /no memory hotplug/],
    ["a file that is not there", ["--ranges", "/nonexistent"], /\/nonexistent cannot be read \(ENOENT\)/],
    ["two layouts", ["--memory", "1G", "--ranges", "/nonexistent"], /--ranges FILE is the whole layout/],
    ["an unknown host", ["-m", "nosuch", "--memory", "1G"], /unknown host "nosuch"/],
  ])("refuses %s in one line, with exit status 2", (_what, args, message) => {
    const { status, stdout, stderr } = uvfio("fit", ...args);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect([status, stdout]).toEqual([2, ""]);
  });
});
