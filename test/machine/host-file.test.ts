import { describe, expect, test } from "vitest";
import { parseHost } from "../../src/machine/parse-host.ts";
import { readyMadeHosts } from "../../src/machine/ready-made-hosts.ts";
import { toYaml } from "../../src/machine/write-host.ts";
import { RECORDED, recording } from "./recordings.ts";

/** The only thing a file must say besides its name. */
const SMALLEST = "name: small\niommu: { model: intel-vtd }\ngroups: []\n";

describe("written as YAML and read again, a host is the same", () => {
  test.each(readyMadeHosts().map((host) => [host.name, host] as const))("%s", (_name, host) => {
    expect(parseHost(toYaml(host), "again.yaml")).toEqual(host);
  });

  test.each(RECORDED)("recording %s", (name) => {
    const host = recording(name);
    expect(parseHost(toYaml(host), "again.yaml")).toEqual(host);
  });

  test("names that YAML would take for something else", () => {
    for (const name of [
      "true",
      "null",
      "12",
      "0x10",
      "a: b",
      "# no",
      "- x",
      "6.10",
      'say "hi"',
      "A",
      "~",
      " x ",
      "é",
      "*a",
    ]) {
      const host = { ...readyMadeHosts()[0]!, name, description: name };
      expect(parseHost(toYaml(host), "again.yaml")).toEqual(host);
    }
  });

  test("an IOMMU with dirty tracking, and one without it in the same machine", () => {
    const host = parseHost(
      "name: h\niommu: {model: amd-vi, dirty_tracking: true}\ngroups:\n- id: 1\n- {id: 2, iommu: {dirty_tracking: false}}\n",
      "f",
    );
    expect([host.iommu, host.groups[1]!.iommu].map((unit) => unit?.dirtyTracking)).toEqual([true, false]);
    expect(parseHost(toYaml(host), "again.yaml")).toEqual(host);
  });

  test("devices without a driver and without anything else", () => {
    const host = parseHost(
      "name: h\niommu: {model: amd-vi}\ngroups:\n- id: 1\n  devices:\n  - {bdf: 0000:00:01.0, id: 1:2, driver: ''}\n- id: 2\n",
      "f",
    );
    expect(host.groups[0]!.devices[0]).toMatchObject({ driver: null, vendor: 1, device: 2 });
    expect(parseHost(toYaml(host), "again.yaml")).toEqual(host);
  });
});

describe("how values may be written", () => {
  test("releases keep their zeros", () => {
    expect(parseHost(`kernel: 6.10\n${SMALLEST}`, "f").kernel).toBe("6.10");
    expect(parseHost(`kernel: "6.1"\n${SMALLEST}`, "f").kernel).toBe("6.1");
  });

  test("addresses exactly, in hex or decimal, as numbers or text", () => {
    const last = (text: string) =>
      parseHost(`name: h\niommu: { model: amd-vi, aperture_end: ${text} }\ngroups: []\n`, "f").iommu.apertureLast;
    for (const text of ["0xfffffffffffffffe", '"0xfffffffffffffffe"', "18446744073709551614", '"18446744073709551614"'])
      expect(last(text)).toBe(0xffff_ffff_ffff_fffen);
  });

  test("config space without letters, quotes or in one piece", () => {
    const digits = `34121101${"0".repeat(504)}`;
    const config = (text: string) => {
      const file = `name: h\niommu: {model: amd-vi}\ngroups:\n- id: 1\n  devices:\n  - bdf: 0000:00:01.0\n    id: 1234:111\n    config: ${text}\n`;
      const device = parseHost(file, "f").groups[0]!.devices[0]!;
      return device.bus === "pci" ? Buffer.from(device.config!).toString("hex") : "";
    };
    expect(config(digits)).toBe(digits);
    expect(config(`|\n      ${digits.slice(0, 100)}\n      ${digits.slice(100)}`)).toBe(digits);
  });

  test("a file with a byte order mark and Windows line ends", () => {
    expect(parseHost(`\uFEFF${SMALLEST.replaceAll("\n", "\r\n")}`, "f").name).toBe("small");
  });
});

describe("what is left out has defaults", () => {
  test("of the host", () => {
    expect(parseHost(SMALLEST, "f")).toEqual({
      name: "small",
      description: "",
      kernel: "6.12",
      api: "mainline",
      arch: "x86_64",
      pageSize: 4096,
      vfioContainer: "type1",
      iommufd: false,
      iommu: {
        model: "intel-vtd",
        apertureStart: 0n,
        apertureLast: 0xffff_ffff_ffffn,
        pageSizes: 0x4020_1000n,
        cacheCoherent: false,
        interruptRemapping: true,
      },
      modules: {
        vfio: {},
        vfioIommuType1: { dmaEntryLimit: 65535, allowUnsafeInterrupts: false, disableHugepages: false },
        iommufd: { allowUnsafeInterrupts: false },
      },
      groups: [],
    });
  });

  test("of another architecture", () => {
    const host = parseHost("name: p\niommu: { model: spapr-tce }\ngroups: []\n", "f");
    expect(host).toMatchObject({ arch: "ppc64le", pageSize: 65536, vfioContainer: "spapr", iommufd: false });
    expect(parseHost("name: s\niommu: { model: s390 }\ngroups: []\n", "f").arch).toBe("s390x");
    const arm64k = parseHost("name: a\npage_size: 65536\niommu: { model: arm-smmu-v3 }\ngroups: []\n", "f");
    expect(arm64k.iommu.pageSizes).toBe(0x2001_0000n);
  });

  test("but not what a host with iommufd's container does say", () => {
    const file = "vfio_container: iommufd\niommu: { model: intel-vtd, page_sizes: 0x1000, cache_coherent: true }\n";
    const host = parseHost(`name: c\n${file}groups: []\n`, "f");
    expect(host).toMatchObject({ iommufd: true, iommu: { pageSizes: 0x1000n, cacheCoherent: true } });
    expect(host.modules.vfio).toEqual({ enableUnsafeNoiommuMode: false });
  });

  test("of a group of VFIO's own", () => {
    const host = parseHost("name: n\niommu: { model: none }\ngroups: [{ id: 0 }]\n", "f");
    expect(host.groups[0]).toEqual({
      id: 0,
      type: "unknown",
      name: "vfio-noiommu",
      noIommu: true,
      reservedRegions: [],
      devices: [],
    });
    // absent: the kernel is built without no-IOMMU mode
    expect(host.modules.vfio.enableUnsafeNoiommuMode).toBeUndefined();
  });

  test("of a device: its own regions are its group's too", () => {
    const host = parseHost(
      "name: h\niommu: {model: intel-vtd}\ngroups:\n- id: 1\n  devices:\n  - bdf: 0000:00:01.0\n    id: 1234:11e8\n    reserved_regions: [{start: 0x1000, end: 0x1fff, type: direct}]\n",
      "f",
    );
    expect(host.groups[0]!.reservedRegions.map((region) => region.type)).toEqual(["direct", "msi"]);
    expect(host.groups[0]!.devices[0]).toMatchObject({ model: "edu", driver: "vfio-pci", class: 0xff00 });
  });
});
