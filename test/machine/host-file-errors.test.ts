import { describe, expect, test } from "vitest";
import { HostDescriptionError } from "../../src/machine/host-description-error.ts";
import { parseHost } from "../../src/machine/parse-host.ts";

const GOOD = `name: myhost
kernel: 6.12
iommu:
  model: intel-vtd
  address_bits: 48
groups:
  - id: 2
    reserved_regions:
      - start: 0xfee00000
        end: 0xfeefffff
        type: msi
    devices:
      - bdf: 0000:00:04.0
        id: 8086:10d3
  - id: 3
    devices:
      - uuid: c08db5ed-05d3-4b39-b150-438a18bc698f
        parent: 0000:00:04.0
        type: nvidia-11
`;

/** The message for GOOD with a piece of it replaced. */
function problem(was: string, is: string, text = GOOD): string {
  expect(text).toContain(was);
  return messageOf(text.replace(was, is));
}

function messageOf(text: string): string {
  try {
    parseHost(text, "myhost.yaml");
  } catch (error) {
    expect(error).toBeInstanceOf(HostDescriptionError);
    const { message, problems } = error as HostDescriptionError;
    for (const line of problems) expect(line).toMatch(/^myhost\.yaml:/);
    expect(message).toBe(problems.join("\n"));
    return message;
  }
  throw new Error("was accepted");
}

test("the file that the others are variations of is fine", () => {
  expect(parseHost(GOOD, "myhost.yaml")).toMatchObject({ name: "myhost", kernel: "6.12" });
});

describe("an error names file, line and field", () => {
  test.each([
    [
      "0xfee00000",
      "0xzz",
      9,
      'groups[0].reserved_regions[0].start: not an address: "0xzz" (write hex like 0xfee00000)',
    ],
    ["0xfee00000", "-1", 9, "groups[0].reserved_regions[0].start: not an address: -1 is beyond 64 bits"],
    [
      "0xfee00000",
      "0x1ffffffffffffffff",
      9,
      "groups[0].reserved_regions[0].start: not an address: 36893488147419103231 is beyond 64 bits",
    ],
    ["0xfee00000", "[1]", 9, "groups[0].reserved_regions[0].start: not an address: a list (write hex like 0xfee00000)"],
    ["0xfee00000", "", 9, "groups[0].reserved_regions[0].start: missing"],
    ["      - start: 0xfee00000\n        end", "      - end", 9, "groups[0].reserved_regions[0].start: missing"],
    [
      "type: msi",
      "type: mis",
      11,
      'groups[0].reserved_regions[0].type: "mis" is not one of direct, direct-relaxable, reserved, msi (did you mean msi?)',
    ],
    [
      "intel-vtd",
      "intel-vtd\n  nesting: true",
      5,
      "iommu.nesting: intel-vtd does not nest; these do: intel-vtd-sm, arm-smmu-v3, mock",
    ],
    [
      "id: 8086:10d3",
      "id: 8086:10d3\n        pasid: true",
      15,
      "groups[0].devices[0].pasid: only the model edu has registers for this",
    ],
    [
      "id: 8086:10d3",
      "id: 1234:11e8\n        pri: true",
      15,
      "groups[0].devices[0].pri: page requests go with translations of its own: add ats: true",
    ],
    [
      "id: 8086:10d3",
      `id: 1234:11e8\n        ats: true\n        config: ${"3412e811".padEnd(512, "0")}`,
      15,
      "groups[0].devices[0].ats: with `config`, its bytes say what the device has",
    ],
    [
      "kernel: 6.12",
      "kernel: 6",
      2,
      "kernel: 6 is not a kernel release (write it like 6.12, or as uname -r prints it)",
    ],
    [
      "kernel: 6.12",
      "kernel: v6.12.3",
      2,
      'kernel: "v6.12.3" is not a kernel release (write it like 6.12, or as uname -r prints it)',
    ],
    [
      "intel-vtd",
      "intel-vdt",
      4,
      'iommu.model: "intel-vdt" is not one of intel-vtd, intel-vtd-sm, intel-vtd-ss, amd-vi, virtio-iommu, arm-smmu-v3, spapr-tce, s390, mock, none (did you mean intel-vtd?)',
    ],
    ["address_bits: 48", "address_bits: 65", 5, "iommu.address_bits: 65 is not from 12 to 64"],
    ["address_bits: 48", "levels: 3", 5, "iommu.levels: only an spapr-tce IOMMU has this"],
    [
      "model: intel-vtd",
      "model: virtio-iommu\n  dirty_tracking: true",
      5,
      "iommu.dirty_tracking: virtio-iommu has no dirty tracking; intel-vtd, intel-vtd-ss, amd-vi, arm-smmu-v3, mock, and intel-vtd-sm with nesting can have it",
    ],
    ["address_bits: 48", "page_sizes: 0", 5, "iommu.page_sizes: an IOMMU has at least one page size"],
    [
      "address_bits: 48",
      "aperture_start: 0x2000\n  aperture_end: 0x1000",
      6,
      "iommu.aperture_end: the aperture ends before it starts (0x2000-0x1000)",
    ],
    ["- id: 3", "- id: 2", 15, "groups[1].id: group 2 is groups[0] already"],
    ["id: 8086:10d3", "id: 8086", 14, "groups[0].devices[0].id: not vendor and device: 8086 (write it like 8086:10d3)"],
    [
      "bdf: 0000:00:04.0",
      "bdf: 00:04.0",
      13,
      'groups[0].devices[0].bdf: not a PCI address: "00:04.0" (write it with its domain, like 0000:00:1b.0)',
    ],
    [
      "id: 8086:10d3",
      "id: 8086:10d3\n        model: edo",
      15,
      'groups[0].devices[0].model: "edo" is not one of generic, edu, ioat, pci-testdev, e1000e, igb, igbvf, nvme, vfio-user, zpci (did you mean edu?)',
    ],
    [
      "id: 8086:10d3",
      "id: 8086:10d3\n        model: edu\n        options: { dma_mask: wide }",
      16,
      'groups[0].devices[0].options.dma_mask: not a number of 64 bits: "wide" (write hex like 0xffffffff)',
    ],
    [
      "id: 8086:10d3",
      "id: 8086:10d3\n        model: edu\n        options: { dma_mast: 1 }",
      16,
      "groups[0].devices[0].options.dma_mast: no option of the model edu (did you mean dma_mask?)",
    ],
    [
      "id: 8086:10d3",
      "id: 8086:10d3\n        model: ioat\n        options: { size: 1 }",
      16,
      "groups[0].devices[0].options.size: the model ioat has no options",
    ],
    [
      "id: 8086:10d3",
      "id: 8086:10d3\n        options: 7",
      15,
      "groups[0].devices[0].options: must be a mapping, not 7",
    ],
    [
      "id: 8086:10d3",
      "id: 8086:10d3\n        config: 8680",
      15,
      "groups[0].devices[0].config: 2 bytes; a config space has 256 or 4096",
    ],
    [
      "parent: 0000:00:04.0",
      "parent: 0000:00:05.0",
      18,
      "groups[1].devices[0].parent: no PCI device 0000:00:05.0 in this file",
    ],
    [
      "intel-vtd",
      "arm-smmu-v3\n  nesting: true\n  hw_info: { idr: [0xd44101a, 0, 0, 0, 0, 0x74] }",
      5,
      "iommu.nesting: hw_info has not both stages (bits 0 and 1 of IDR0)",
    ],
    [
      "intel-vtd",
      "arm-smmu-v3\n  dirty_tracking: true\n  hw_info: { idr: [0xd44101b, 0, 0, 0, 0, 0x74] }",
      5,
      "iommu.dirty_tracking: hw_info has no dirty state by hardware (HTTU, bits 7:6 of IDR0, is not 2)",
    ],
    [
      "intel-vtd",
      "arm-smmu-v3\n  hw_info: { idr: [1, 2] }",
      5,
      "iommu.hw_info.idr: must be six numbers, SMMU_IDR0 to SMMU_IDR5",
    ],
    ["intel-vtd", "intel-vtd\n  canwbs: true", 5, "iommu.canwbs: only an arm-smmu-v3 IOMMU has this"],
    ["c08db5ed-05d3-4b39-b150-438a18bc698f", "c08db5ed", 17, 'groups[1].devices[0].uuid: not a UUID: "c08db5ed"'],
  ])("%s -> %s", (was, is, line, message) => {
    expect(problem(was, is)).toBe(`myhost.yaml:${line}: ${message}`);
  });

  test("regions that overlap", () => {
    const two = "type: msi\n      - { start: 0xfeeff000, end: 0xfeffffff, type: reserved }";
    expect(problem("type: msi", two)).toBe(
      "myhost.yaml:12: groups[0].reserved_regions[1].start: 0xfeeff000-0xfeffffff (reserved) overlaps 0xfee00000-0xfeefffff (msi)",
    );
  });

  test("a device's own region that overlaps one of its group", () => {
    const own = "id: 8086:10d3\n        reserved_regions: [{ start: 0xfee00000, end: 0xfee0ffff, type: direct }]";
    expect(problem("id: 8086:10d3", own)).toMatch(
      /^myhost\.yaml:15: groups\[0\]\.devices\[0\]\.reserved_regions\[0\]\.start: .* overlaps 0xfee00000-0xfeefffff \(msi\)$/,
    );
  });

  test("a region that ends before it starts", () => {
    expect(problem("end: 0xfeefffff", "end: 0xfe")).toBe(
      "myhost.yaml:10: groups[0].reserved_regions[0].end: the region ends before it starts (0xfee00000-0xfe)",
    );
  });

  test("the same device twice, in whatever spelling", () => {
    expect(problem("id: 8086:10d3\n", "id: 8086:10d3\n      - { bdf: 0000:00:04.0, id: 8086:10d3 }\n")).toBe(
      "myhost.yaml:15: groups[0].devices[1].bdf: 0000:00:04.0 is groups[0].devices[0] already",
    );
    const uuids = GOOD.replace(
      "type: nvidia-11",
      "type: nvidia-11\n  - id: 4\n    devices:\n      - { uuid: C08DB5ED-05d3-4b39-b150-438a18bc698f, parent: 0000:00:04.0, type: x }",
    );
    expect(messageOf(uuids)).toMatch(/^myhost\.yaml:22: groups\[2\]\.devices\[0\]\.uuid: c08db5ed-.* is groups\[1\]/);
  });

  test("an unbacked mediated device in company", () => {
    const both = GOOD.replace("  - id: 3\n    devices:\n", "");
    expect(messageOf(both)).toMatch(/^myhost\.yaml:15: groups\[0\]\.devices\[1\]\.uuid: .* must be alone in its group/);
    expect(
      parseHost(both.replace("type: nvidia-11", "type: nvidia-11\n        iommu_backed: true"), "f").groups,
    ).toHaveLength(1);
  });

  test("config space of another device", () => {
    const config = `id: 8086:10d3\n        config: "3412${"0".repeat(508)}"`;
    expect(problem("id: 8086:10d3", config)).toBe(
      "myhost.yaml:15: groups[0].devices[0].config: begins with the ids 1234:0000, not 8086:10d3",
    );
  });

  test("BARs", () => {
    const withBars = (bars: string) => problem("id: 8086:10d3", `id: 8086:10d3\n        bars: ${bars}`);
    expect(withBars("[{ index: 0, size: 3000, type: memory }]")).toMatch(/bars\[0\]\.size: not a power of two: 3000$/);
    expect(withBars("[{ index: 0, size: 4096, type: memory64 }, { index: 1, size: 4096, type: io }]")).toMatch(
      /bars\[1\]\.index: BAR 1 is taken already$/,
    );
    expect(withBars("[{ index: 2, size: 4096, type: rom }]")).toMatch(/index 6, and only that, is the rom$/);
  });
});

describe("keys that nobody knows", () => {
  test("are errors with the nearest known one, even where another is missing because of it", () => {
    expect(problem("start:", "strat:")).toMatch(
      /^myhost\.yaml:9: groups\[0\]\.reserved_regions\[0\]\.strat: unknown key \(did you mean start\?\)/,
    );
    expect(problem("name: myhost", "nam: myhost")).toMatch(/^myhost\.yaml:1: nam: unknown key \(did you mean name\?\)/);
    expect(problem("parent:", "parents:")).toMatch(
      /^myhost\.yaml:18: .*\.parents: unknown key \(did you mean parent\?\)/,
    );
  });

  test("or with all of them when none is near", () => {
    expect(problem("  address_bits: 48", "  colour: red")).toMatch(
      /^myhost\.yaml:5: iommu\.colour: unknown key \(there are: model, address_bits, /,
    );
  });

  test("pass in a recording, which says more than the model needs", () => {
    const text = GOOD.replace("name:", "machine:").replace("address_bits: 48", "address_bits: 48\n  colour: red");
    expect(parseHost(`${text}qemu: qemu-system-x86_64\n`, "host.json").name).toBe("myhost");
  });
});

describe("all that is wrong is told at once", () => {
  test("each with its place, the topmost first and what is missing last", () => {
    const text = GOOD.replace("kernel: 6.12", "kernel: six")
      .replace("id: 8086:10d3", "id: 8086")
      .replace("parent", "parnt");
    expect(messageOf(text).split("\n")).toEqual([
      'myhost.yaml:2: kernel: "six" is not a kernel release (write it like 6.12, or as uname -r prints it)',
      "myhost.yaml:14: groups[0].devices[0].id: not vendor and device: 8086 (write it like 8086:10d3)",
      "myhost.yaml:18: groups[1].devices[0].parnt: unknown key (did you mean parent?)",
      "myhost.yaml:17: groups[1].devices[0].parent: missing",
    ]);
  });

  test("but not hundreds of them", () => {
    const groups = Array.from({ length: 100 }, (_, id) => `  - {id: ${id}, type: 7, devices: 7}\n`).join("");
    const lines = messageOf(`name: a\niommu: {model: none}\ngroups:\n${groups}`).split("\n");
    expect(lines).toHaveLength(21);
    expect(lines.at(-1)).toMatch(/^myhost\.yaml: and \d+ more$/);
  });

  test("also of values that contradict each other", () => {
    const text = GOOD.replace("- id: 3", "- id: 2").replace("parent: 0000:00:04.0", "parent: 0000:00:05.0");
    expect(messageOf(text).split("\n")).toHaveLength(2);
  });
});

describe("what nobody would write", () => {
  test.each([
    ["text with control characters", 'name: "a\\e[2Jb"\n', /name: must be one line of text without control characters/],
    ["brackets without end", "[".repeat(100_000), /not valid YAML: nested too deep$/],
    ["a list of millions", "- a\n".repeat(500_000), /^myhost\.yaml: more than 400000 values/],
    ["one line of millions", `[${"1,".repeat(500_000)}]`, /^myhost\.yaml: more than 400000 values/],
  ])("%s", (_what, text, message) => {
    expect(messageOf(text)).toMatch(message);
  });
});

describe("what is not YAML, or not a host", () => {
  test.each([
    ["groups: [1, 2", /^myhost\.yaml:1: not valid YAML: Flow sequence/],
    ["name: a\n\tkernel: 6.12\n", /^myhost\.yaml:2: not valid YAML: /],
    ["name: a\nname: b\n", /^myhost\.yaml:2: not valid YAML: Map keys must be unique$/],
    ["name: a\nkernel: *nowhere\n", /^myhost\.yaml:2: not valid YAML: there is no anchor &nowhere before this alias$/],
    ["name: &a [*a]\n", /^myhost\.yaml:1: /],
    ["", /^myhost\.yaml:1: not a host description/],
    ["- 1\n", /^myhost\.yaml:1: not a host description/],
    ["just text", /^myhost\.yaml:1: not a host description/],
    ["{}", /^myhost\.yaml:1: iommu: missing; so is groups \(line 1\)$/],
    ["name: a\niommu: {model: none}\ngroups: 3\n", /^myhost\.yaml:3: groups: must be a list, not 3$/],
    ["name: a\niommu: none\ngroups: []\n", /^myhost\.yaml:2: iommu: must be a mapping, not "none"$/],
    ["iommu: {model: none}\ngroups: []\n", /^myhost\.yaml:1: name: missing$/],
    [
      "name: a\niommu: {model: none}\ngroups:\n  - {id: 1, devices: [7]}\n",
      /^myhost\.yaml:4: groups\[0\]\.devices\[0\]: must be a mapping, not 7$/,
    ],
  ])("%j", (text, message) => {
    expect(messageOf(text)).toMatch(message);
  });

  test("values that are shared by an alias name the line where they are", () => {
    const text = GOOD.replace("reserved_regions:", "reserved_regions: &regions").replace(
      "  - id: 3\n",
      "  - id: 3\n    reserved_regions: *regions\n",
    );
    expect(parseHost(text, "f").groups[1]!.reservedRegions).toHaveLength(1);
    expect(messageOf(text.replace("end: 0xfeefffff", "end: x"))).toMatch(/^myhost\.yaml:10: groups\[0\]/);
  });
});
