import { describe, expect, test } from "vitest";
import { capabilities, extendedCapabilities } from "../../src/devices/pci/capabilities.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { configSpace } from "../../src/machine/pci-config.ts";
import { toYaml } from "../../src/machine/write-host.ts";

const [EXPRESS, MSI] = [0x10, 0x05];
const [ATS, PRI, PASID] = [0x0f, 0x13, 0x1b];

function host(abilities: string) {
  const text = `name: h\niommu: { model: intel-vtd-sm, nesting: true }\ngroups:\n- id: 1\n  devices: [{ bdf: 0000:01:00.0, id: 1234:11e8${abilities} }]\n`;
  return parseHost(text, "h.yaml");
}

function config(abilities: string): Uint8Array {
  const description = host(abilities);
  const device = description.groups[0]!.devices[0]!;
  if (device.bus !== "pci") throw new Error("no PCI device");
  return configSpace(description, device);
}

describe("the config space of an edu", () => {
  test("is conventional PCI's without abilities", () => {
    expect(config("").length).toBe(256);
    expect(config(", pasid: false").length).toBe(256);
  });

  test.each([
    [", pasid: true", [PASID]],
    [", ats: true", [ATS]],
    [", ats: true, pri: true", [ATS, PRI]],
    [", pasid: true, ats: true, pri: true", [ATS, PRI, PASID]],
  ])("has the capabilities of%s", (abilities, ids) => {
    const bytes = config(abilities);
    expect(bytes.length).toBe(4096);
    expect(capabilities(bytes).map(({ id }) => id)).toEqual([MSI, EXPRESS]);
    expect(extendedCapabilities(bytes).map(({ id }) => id)).toEqual(ids);
  });

  test("enables them, with 20 bits of PASID", () => {
    const bytes = config(", pasid: true, ats: true, pri: true");
    const view = new DataView(bytes.buffer);
    const at = (wanted: number) => extendedCapabilities(bytes).find(({ id }) => id === wanted)!.offset;
    expect(view.getUint16(at(ATS) + 6, true) & 0x8000).toBe(0x8000);
    expect(view.getUint16(at(PRI) + 4, true) & 1).toBe(1);
    expect((view.getUint16(at(PASID) + 4, true) >> 8) & 0x1f).toBe(20);
    expect(view.getUint16(at(PASID) + 6, true)).toBe(5);
  });
});

test("what a file says of them is written and read again", () => {
  const description = host(", pasid: true, ats: true");
  expect(parseHost(toYaml(description), "again.yaml")).toEqual(description);
  expect(toYaml(description)).toContain("nesting: true");
});
