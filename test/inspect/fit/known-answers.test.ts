import { describe, expect, test } from "vitest";
import { checkFit } from "../../../src/inspect/fit/fit.ts";
import { parseRangesFile } from "../../../src/inspect/fit/layouts/ranges-file.ts";
import { KIB, MIB, TIB } from "../../../src/inspect/fit/sizes.ts";
import { fitHost } from "../../../src/library/fit/fit-host.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { recording } from "../../machine/recordings.ts";
import { ask, fromText, gib, readyMade } from "./hosts.ts";

const NARROW = "name: narrow\niommu: { model: intel-vtd, address_bits: 39 }\ngroups:\n";
const ONE_DEVICE = '  - { id: 1, devices: [{ bdf: 0000:00:04.0, id: "1234:11e8" }] }\n';
const TWO_DEVICES = `${ONE_DEVICE}  - { id: 2, devices: [{ bdf: 0000:00:05.0, id: "1234:11e8" }] }\n`;

describe("a guest near 1 TiB on the AMD host", () => {
  const amd = readyMade("amd");

  test("is laid out into the HyperTransport region by q35 of 7.0 from 1011 GiB on", () => {
    const result = ask(amd, { vmm: "pc-q35-7.0", memory: gib(1011) });
    expect(result.fits).toBe(false);
    expect(result.reasons).toEqual([
      "RAM above 4 GiB: 0xfd00000000-0xfd3fffffff lies in AMD's HyperTransport addresses, reserved region 0xfd00000000-0xffffffffff (reserved) of 0000:01:00.0 (group 13)",
    ]);
    expect(result.cures.map(({ text }) => text)).toEqual([
      expect.stringMatching(/^relocate above 1 TiB: machine version 7\.1 or newer .* needs 42 address bits/),
      "less memory: 1010 GiB fits this layout, 1 GiB more does not",
    ]);
  });

  test("fits with exactly 1010 GiB, whose last byte lies right below the region; only the PCI window is in it", () => {
    const result = ask(amd, { vmm: "pc-q35-7.0", memory: gib(1010), firmware: "direct" });
    expect(result.fits).toBe(true);
    expect(result.ranges.at(-2)!.range.last).toBe(0xfc_ffff_ffffn);
    expect(result.warnings).toEqual([expect.stringContaining("0xfd00000000-0xffffffffff cannot be mapped")]);
  });

  test("fits with i440fx up to 1011 GiB, because 3 GiB of it are below 4 GiB", () => {
    expect(ask(amd, { vmm: "pc-i440fx-7.0", memory: gib(1011) }).fits).toBe(true);
    expect(ask(amd, { vmm: "pc-i440fx-7.0", memory: gib(1012) }).fits).toBe(false);
  });

  test.each([1010, 1011, 1024, 4096])("fits with %d GiB when 7.1 relocates it above 1 TiB", (size) => {
    const result = ask(amd, { vmm: "pc-q35-7.1", memory: gib(size) });
    expect(result.fits).toBe(true);
    expect(result.ranges.map(({ range }) => range.start)).toContain(TIB);
  });

  test("is not relocated for an Intel CPU model, and that is a cure", () => {
    const result = ask(amd, { vmm: "q35", memory: gib(1024), cpuVendor: "intel" });
    expect(result.fits).toBe(false);
    expect(result.cures[0]!.text).toContain("an AMD CPU model (--cpu-vendor amd)");
    expect(result.cures[0]!.text).not.toContain("machine version");
  });

  test("does not fit after relocation when the guest's CPU has too few address bits", () => {
    const memory = gib(1010);
    expect(ask(amd, { vmm: "pc-q35-7.1", memory }, { physBits: 42 }).fits).toBe(true);
    const result = ask(amd, { vmm: "pc-q35-7.1", memory }, { physBits: 41 });
    expect(result.fits).toBe(false);
    expect(result.reasons).toEqual(["guest address bits: 42 of 41: the 64-bit PCI window ends at 0x203ffffffff"]);
    expect(result.cures[0]!.text).toContain("phys-bits=42");
  });

  test.each(["cloud-hypervisor", "crosvm"])("does not fit with 1 TiB in %s, which does not relocate", (vmm) => {
    const result = ask(amd, { vmm, memory: TIB });
    expect(result.fits).toBe(false);
    expect(result.cures.map(({ text }) => text)).toEqual([
      expect.stringMatching(/^less memory: 101[01] GiB fits this layout/),
    ]);
  });

  test.each([1, 4, 64, 512])("fits with %d GiB in every VMM", (size) => {
    for (const vmm of ["pc-q35-7.0", "q35", "pc-i440fx-1.7", "i440fx", "cloud-hypervisor", "crosvm"])
      expect(ask(amd, { vmm, memory: gib(size) }).fits).toBe(true);
  });

  test("is mapped without complaint by a kernel before 5.4, which the answer says", () => {
    const host = fitHost({ ...readyMadeHost("amd")!, kernel: "5.3" }, []);
    expect(host.notes).toEqual([expect.stringContaining("kernel 5.3 does not check IOVAs")]);
    expect(ask(host, { vmm: "pc-q35-7.0", memory: TIB }).fits).toBe(false);
  });
});

describe("a host IOMMU of 39 bits", () => {
  const narrow = fromText(NARROW + ONE_DEVICE);

  test("does not reach the end of 1 TiB, whatever the CPU has", () => {
    const result = ask(narrow, { vmm: "q35", memory: TIB }, { physBits: 46 });
    expect(result.reasons).toEqual([
      "RAM above 4 GiB: 0x8000000000-0x1007fffffff lies beyond what the IOMMU translates, 0x0-0x7fffffffff (intel-vtd, 39 address bits)",
    ]);
    expect(result.cures.map(({ text }) => text)).toEqual([
      expect.stringContaining("at least 41 address bits"),
      "less memory: 510 GiB fits this layout, 1 GiB more does not",
    ]);
  });

  test("takes 510 GiB, but a 64-bit BAR behind it is out of reach for other devices", () => {
    const result = ask(narrow, { vmm: "q35", memory: gib(510) });
    expect(result.fits).toBe(true);
    expect(result.warnings[0]).toMatch(/64-bit PCI window: a BAR at 0x8000000000-.* cannot be mapped/);
  });

  test("has room for small guests with small windows, not for BARs of 1 TiB", () => {
    expect(ask(narrow, { vmm: "q35", memory: gib(4) }).warnings).toEqual([]);
    expect(ask(narrow, { vmm: "q35", memory: gib(4), bars64: TIB }).warnings).toHaveLength(1);
  });

  test("limits only the groups behind it: the narrowest counts for all", () => {
    const text = `name: mixed\niommu: { model: intel-vtd, address_bits: 48 }\ngroups:\n${ONE_DEVICE}  - { id: 2, iommu: { address_bits: 39 }, devices: [{ bdf: 0000:00:05.0, id: "1234:11e8" }] }\n`;
    expect(ask(fromText(text), { vmm: "q35", memory: TIB }).fits).toBe(false);
    expect(ask(fromText(text, ["0000:00:04.0"]), { vmm: "q35", memory: TIB }).fits).toBe(true);
  });
});

describe("limits", () => {
  const intel = readyMade("intel", ["0000:00:1b.0"]);

  test("dma_entry_limit: 4 KiB pieces are too many from 256 MiB on", () => {
    const small = ask(intel, { vmm: "q35", memory: 255n * MIB }, { viommu: true, chunk: 4n * KIB });
    expect(small.fits).toBe(true);
    const result = ask(intel, { vmm: "q35", memory: 256n * MIB }, { viommu: true, chunk: 4n * KIB });
    expect(result.reasons).toEqual([
      "mappings: 65600 of 65535 (dma_entry_limit) in each container, pieces of 4 KiB: the next MAP_DMA is ENOSPC; 65535 of them cover ~255.9 MiB",
    ]);
    expect(result.cures.map(({ text }) => text)).toEqual([
      expect.stringContaining("with 8 KiB and more"),
      expect.stringContaining("dma_entry_limit=65600"),
    ]);
  });

  test("dma_entry_limit: the host's own value counts", () => {
    const text = `${NARROW}${ONE_DEVICE}modules: { vfio_iommu_type1: { dma_entry_limit: 2 } }\n`;
    expect(ask(fromText(text), { vmm: "q35", memory: gib(4) }).reasons).toEqual([
      "mappings: 3 of 2 (dma_entry_limit), one MAP_DMA for each range: the next MAP_DMA is ENOSPC",
    ]);
  });

  test("RLIMIT_MEMLOCK: once without a vIOMMU, for each group with one", () => {
    const two = fromText(NARROW + TWO_DEVICES);
    const guest = { vmm: "q35", memory: gib(8) };
    const enough = gib(8) + 256n * KIB;
    expect(ask(two, guest, { memlock: enough }).fits).toBe(true);
    expect(ask(two, guest, { memlock: enough - 1n }).fits).toBe(false);
    expect(ask(two, guest, { memlock: 2n * enough, viommu: true }).fits).toBe(true);
    const result = ask(two, guest, { memlock: enough, viommu: true });
    expect(result.reasons).toEqual([
      "locked memory: 16 GiB + 512 KiB (all of it for each of 2 groups); RLIMIT_MEMLOCK 8 GiB + 256 KiB",
    ]);
    expect(result.cures.map(({ text }) => text)).toEqual([
      expect.stringContaining("ulimit -l 16777728"),
      expect.stringContaining("no vIOMMU"),
    ]);
  });

  test("nothing limits a mediated device without an IOMMU", () => {
    const mdev = readyMade("intel", ["c08db5ed-05d3-4b39-b150-438a18bc698f"]);
    expect(mdev.answer!.validRanges).toBeUndefined();
    const result = ask(mdev, { vmm: "q35", memory: gib(100_000) }, { memlock: MIB });
    expect(result.fits).toBe(true);
  });
});

describe("devices", () => {
  test("that firmware uses 1:1 are refused, and the others are offered", () => {
    const host = fitHost(recording("amd-ivmd"), []);
    const result = ask(host, { vmm: "q35", memory: gib(1) });
    expect(result.fits).toBe(false);
    expect(result.reasons[0]).toMatch(/0x20000000-0x200fffff of 0000:00:05\.0 .*direct/);
    expect(result.cures[0]!.text).not.toContain("0000:00:05.0");
    const usable = host.usable!.map(({ device }) => (device.bus === "pci" ? device.bdf : device.uuid));
    expect(ask(fitHost(recording("amd-ivmd"), usable), { vmm: "q35", memory: gib(1) }).fits).toBe(true);
  });

  test("that a host driver has are taken as bound to vfio-pci, with their group, and that is said", () => {
    const text = `${NARROW}  - id: 1\n    devices:\n      - { bdf: 0000:00:04.0, id: "1234:11e8", driver: nvme }\n      - { bdf: 0000:00:04.1, id: "1234:11e8", driver: e1000e }\n`;
    const host = fromText(text, ["0000:00:04.0"]);
    expect(host.refusal).toBeUndefined();
    expect(host.notes).toEqual([
      "0000:00:04.0 is bound to nvme: bind it to vfio-pci before the guest starts",
      "0000:00:04.1 is bound to e1000e: bind it to vfio-pci before the guest starts (it shares group 1)",
    ]);
    expect(() => fromText(text)).toThrow(/no device of host narrow is bound to vfio-pci.*0000:00:04\.0/);
  });

  test("behind an IOMMU that does not remap interrupts need a parameter, and that is said", () => {
    const host = fitHost(recording("virtio-safe"), []);
    expect(host.notes).toEqual([]);
    const result = ask(host, { vmm: "q35", memory: gib(4) });
    expect(result.fits).toBe(true);
    expect(result.conditions).toEqual([expect.stringContaining("allow_unsafe_interrupts is 1")]);
  });

  test("of a host without an IOMMU get no guest memory at all", () => {
    const host = fitHost(recording("noiommu-k72fd"), []);
    expect(ask(host, { vmm: "q35", memory: gib(1) }).reasons[0]).toContain("no IOMMU");
  });
});

describe("a layout from a file", () => {
  const amd = readyMade("amd");
  const check = (text: string) =>
    checkFit({ host: amd, layout: parseRangesFile(text, "mine.txt"), assumptions: { viommu: false } });

  test("fits or collides as it stands there, and gets a place that is free", () => {
    expect(check("0x0-0x7fffffff RAM\n0x100000000+60G more").fits).toBe(true);
    const result = check("0x0-0x7fffffff low\n0x100000000+1T high\n");
    expect(result.fits).toBe(false);
    expect(result.cures.map(({ text }) => text)).toEqual([
      "move high: 0x10100000000-0x200ffffffff is valid and free (1 TiB)",
    ]);
    expect(check("0x0-0x7fffffff low\n0x10100000000-0x200ffffffff high").fits).toBe(true);
  });

  test("names the interrupt window, and a range that is no multiple of the IOMMU's page", () => {
    expect(check("0xf0000000+256M").reasons[0]).toMatch(/0xfee00000-0xfeefffff lies in the x86 interrupt window/);
    expect(check("0x1000-0x17ff odd").reasons[0]).toContain("not a multiple of the smallest IOMMU page, 0x1000");
  });

  test("may be what QEMU prints for info mtree -f", () => {
    const layout = parseRangesFile(
      [
        'FlatView #0\n AS "I/O", root: io\n Root memory region: io\n  0000000000000000-0000000000000007 (prio 0, ram): x',
        'FlatView #1\n AS "memory", root: system\n AS "cpu-memory-0", root: system\n Root memory region: system',
        "  0000000000000000-00000000000bffff (prio 0, ram): pc.ram\n  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic",
        "  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\n  0000000100000000-000000013fffffff (prio 0, ram): pc.ram @0000000080000000",
      ].join("\n"),
      "mtree.txt",
    );
    expect(layout.ranges.map(({ start, last, kind, name }) => [start, last, kind, name])).toEqual([
      [0n, 0xbffffn, "ram", "pc.ram"],
      [0xfffc_0000n, 0xffff_ffffn, "firmware", "pc.bios"],
      [0x1_0000_0000n, 0x1_3fff_ffffn, "ram", "pc.ram"],
    ]);
  });

  test.each([
    ["", /mine\.txt: no ranges in it/],
    ["0x0-0xfff\nwhat", /mine\.txt:2: not a range: "what"/],
    ["0x2000-0x1000", /mine\.txt:1: the range ends before it starts/],
    ["0x0-0xzz", /mine\.txt:1: not an address: "0xzz"/],
    ["0x0+1X", /mine\.txt:1: not a size: "1X"/],
    ["0x0-0x1fff\n0x1000-0x2fff", /mine\.txt: 0x0-0x1fff and 0x1000-0x2fff overlap/],
    ["0xffffffffffff0000+1M", /beyond 64 bits/],
  ])("is refused with its line when it is wrong: %j", (text, message) => {
    expect(() => check(text)).toThrow(message);
  });
});
