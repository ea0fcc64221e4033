import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseHost } from "../../src/machine/parse-host.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { scratchFolder, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe("uvfio hosts NAME", () => {
  test("is a table: address, group, driver, device, and whether it works", () => {
    const { status, stdout } = uvfio("hosts", "lab");
    expect(status).toBe(0);
    const lines = stdout.trimEnd().split("\n");
    expect(lines[2]).toMatch(/^ADDRESS +GROUP +DRIVER +DEVICE +MODEL$/);
    expect(lines).toHaveLength(3 + readyMadeHost("lab")!.groups.flatMap(({ devices }) => devices).length);
    expect(lines.find((line) => line.startsWith("0000:01:00.0"))).toMatch(
      /^0000:01:00\.0 +1 +vfio-pci +System peripheral: DMA engine \[8086:2021\] +works \(ioat\)$/,
    );
    expect(lines.find((line) => line.startsWith("0000:00:02.0"))).toMatch(/ i915 .* registers are plain memory$/);
  });

  test("tells devices that only show what they are after a reset", () => {
    expect(uvfio("hosts", "s390").stdout).toMatch(/as after reset, does nothing \(zpci\)$/m);
  });

  test("with --yaml and --json is the file", () => {
    expect(parseHost(uvfio("hosts", "lab", "--yaml").stdout, "lab.yaml")).toEqual(readyMadeHost("lab"));
    expect(parseHost(uvfio("hosts", "lab", "--json").stdout, "lab.json")).toEqual(readyMadeHost("lab"));
    for (const args of [["lab", "--yaml", "--json"], ["--yaml"]]) {
      const { status, stderr } = uvfio("hosts", ...args);
      expect(status).toBe(2);
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    }
  });

  test("says of a driver that it could not be bound, and what a virtual function is one of", () => {
    const file = join(scratch.path, "h.yaml");
    const device = (more: string) => `{ bdf: 0000:01:00.0, id: "8086:10c9", ${more} }`;
    writeFileSync(file, `name: h\niommu: { model: none }\ngroups: []\ndevices: [ ${device('name: "a"')} ]\n`);
    expect(uvfio("hosts", file).stdout).toMatch(/^0000:01:00\.0 +none +- \(not vfio-pci: refused\) /m);
    const virtual = `{ bdf: 0000:01:10.0, id: "8086:10ca" }`;
    writeFileSync(
      file,
      `name: h\niommu: { model: intel-vtd }\ngroups: [ { id: 1, devices: [ ${device('name: "a"')} ] }, { id: 2, devices: [ ${virtual} ] } ]\n`,
    );
    expect(uvfio("hosts", file).stdout).toContain("[8086:10ca], VF of 0000:01:00.0");
  });
});
