import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, scratchFolder, UVFIO, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const HOST = join(scratch.path, "host.yaml");
writeFileSync(
  HOST,
  `
name: functions behind a port
kernel: "6.12"
iommu: { model: intel-vtd, address_bits: 48 }
groups:
  - { id: 1, devices: [ { bdf: 0000:00:01.0, id: "8086:1901", class: 0x060400 } ] }
  - { id: 2, devices: [ { bdf: 0000:01:00.0, id: "8086:10fb", class: 0x020000, sriov_totalvfs: 63, bars: [ { index: 0, size: 0x80000, type: memory64 } ] } ] }
  - { id: 3, devices: [ { bdf: 0000:01:10.0, id: "8086:10ed", class: 0x020000, bars: [ { index: 0, size: 0x4000, type: memory64 } ] } ] }
  - { id: 4, devices: [ { bdf: 0000:01:10.2, id: "8086:10ed", class: 0x020000, bars: [ { index: 0, size: 0x4000, type: memory64 } ] } ] }
`,
);
const run = (...command: string[]) => uvfio("run", "-m", HOST, "--", ...command);

describe("programs that look at PCI devices", () => {
  const hasLspci = spawnSync("lspci", ["--version"]).error === undefined;

  test.skipIf(!hasLspci)("lspci -vvv shows links, groups, functions and who drives them", () => {
    const { status, stdout } = run("lspci", "-vvv", "-n");
    expect(status).toBe(0);
    const blocks = stdout.split("\n\n");
    const [port, physical, virtual] = ["00:01.0", "01:00.0", "01:10.0"].map(
      (bdf) => blocks.find((block) => block.startsWith(bdf))!,
    );
    expect(port).toContain("Bus: primary=00, secondary=01, subordinate=01");
    expect(port).toContain("Root Port");
    expect(physical).toMatch(/Express \(v2\) Endpoint/);
    expect(physical).toMatch(/IOMMU group: 2/);
    expect(physical).toMatch(/Initial VFs: 63, Total VFs: 63, Number of VFs: 2/);
    expect(physical).toMatch(/VF offset: 128, stride: 2, Device ID: 10ed/);
    expect(physical).toMatch(/Kernel driver in use: vfio-pci/);
    expect(virtual).toMatch(/^01:10\.0 0200: 8086:10ed/);
    expect(virtual).toMatch(/Region 0: Memory at [0-9a-f]+ \(64-bit, prefetchable\).*\[size=16K\]/);
  });

  test("resource files have the size of their BARs, for root alone", () => {
    const at = "/sys/bus/pci/devices/0000:01:00.0";
    expect(run("stat", "-L", "-c", "%s %a", `${at}/resource0`).stdout).toBe("524288 600\n");
    expect(run("sh", "-c", `cat ${at}/sriov_numvfs; readlink ${at}/virtfn1`).stdout).toBe("2\n../0000:01:10.2\n");
  });

  test("a limit on the size of files is none for the host", () => {
    const { stdout, status } = spawnSync(
      "sh",
      ["-c", `ulimit -f 16; exec "$0" "$@"`, process.execPath, UVFIO, "run", "-m", HOST, "--", "echo", "started"],
      { encoding: "utf8", timeout: 170_000 },
    );
    expect({ stdout, status }).toEqual({ stdout: "started\n", status: 0 });
  });
});

test("a host of thousands of devices starts", { timeout: 120_000 }, () => {
  const file = join(scratch.path, "many.yaml");
  const bdf = (n: number) =>
    `0000:${(1 + (n >> 8)).toString(16).padStart(2, "0")}:${((n >> 3) & 31).toString(16).padStart(2, "0")}.${n & 7}`;
  const groups = Array.from(
    { length: 2600 },
    (_, n) => `  - { id: ${n}, devices: [ { bdf: "${bdf(n)}", id: "8086:100e" } ] }`,
  );
  writeFileSync(file, `name: many\niommu: { model: intel-vtd, address_bits: 48 }\ngroups:\n${groups.join("\n")}\n`);
  const { stdout } = finished(process.execPath, [UVFIO, "run", "-m", file, "--", "ls", "/sys/bus/pci/devices"], {
    timeout: 110_000,
  });
  expect(stdout.trimEnd().split("\n")).toHaveLength(2600);
});
