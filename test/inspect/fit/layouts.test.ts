import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FIRMWARES, type GuestRange, type LayoutRequest } from "../../../src/inspect/fit/layout.ts";
import { chooseVmm, VMMS } from "../../../src/inspect/fit/layouts/index.ts";
import { GIB, KIB, MIB, parseSize } from "../../../src/inspect/fit/sizes.ts";

/**
 * What QEMU 7.2.22 says itself, `info mtree -f`: the end of RAM below 4 GiB, where the rest starts and ends, and the start of the firmware.
 * All with memory-backend-ram,reserve=off; the guest's CPU is EPYC for "amd".
 */
const QEMU: readonly (readonly [
  machine: string,
  memory: string,
  cpu: "amd" | "intel",
  low: bigint,
  high: bigint[],
  rom: bigint,
])[] = [
  ["pc-q35-7.2", "512M", "intel", 0x1fff_ffffn, [], 0xfffc_0000n],
  ["pc-q35-7.2", "2815M", "intel", 0xafef_ffffn, [], 0xfffc_0000n],
  ["pc-q35-7.2", "2816M", "intel", 0x7fff_ffffn, [0x1_0000_0000n, 0x1_2fff_ffffn], 0xfffc_0000n],
  ["pc-q35-7.2", "3G", "intel", 0x7fff_ffffn, [0x1_0000_0000n, 0x1_3fff_ffffn], 0xfffc_0000n],
  ["pc-q35-2.4", "4G", "intel", 0x7fff_ffffn, [0x1_0000_0000n, 0x1_7fff_ffffn], 0xfffc_0000n],
  ["pc-q35-7.2", "900G", "amd", 0x7fff_ffffn, [0x1_0000_0000n, 0xe1_7fff_ffffn], 0xfffc_0000n],
  ["pc-q35-7.1", "978G", "amd", 0x7fff_ffffn, [0x1_0000_0000n, 0xf4_ffff_ffffn], 0xfffc_0000n],
  ["pc-q35-7.1", "979G", "amd", 0x7fff_ffffn, [0x100_0000_0000n, 0x1f4_3fff_ffffn], 0xfffc_0000n],
  ["pc-q35-7.1", "1010G", "amd", 0x7fff_ffffn, [0x100_0000_0000n, 0x1fb_ffff_ffffn], 0xfffc_0000n],
  ["pc-q35-7.2", "1010G", "intel", 0x7fff_ffffn, [0x1_0000_0000n, 0xfc_ffff_ffffn], 0xfffc_0000n],
  ["pc-q35-7.0", "1010G", "amd", 0x7fff_ffffn, [0x1_0000_0000n, 0xfc_ffff_ffffn], 0xfffc_0000n],
  ["pc-q35-7.0", "1011G", "amd", 0x7fff_ffffn, [0x1_0000_0000n, 0xfd_3fff_ffffn], 0xfffc_0000n],
  ["pc-q35-2.9", "979G", "amd", 0x7fff_ffffn, [0x1_0000_0000n, 0xf5_3fff_ffffn], 0xfffc_0000n],
  ["pc-i440fx-7.2", "3583M", "intel", 0xdfef_ffffn, [], 0xfffc_0000n],
  ["pc-i440fx-7.2", "3584M", "intel", 0xbfff_ffffn, [0x1_0000_0000n, 0x1_1fff_ffffn], 0xfffc_0000n],
  ["pc-i440fx-7.2", "4G", "intel", 0xbfff_ffffn, [0x1_0000_0000n, 0x1_3fff_ffffn], 0xfffc_0000n],
  ["pc-i440fx-1.7", "4G", "intel", 0xdfff_ffffn, [0x1_0000_0000n, 0x1_1fff_ffffn], 0xfffe_0000n],
  ["pc-i440fx-7.1", "1009G", "amd", 0xbfff_ffffn, [0x1_0000_0000n, 0xfc_7fff_ffffn], 0xfffc_0000n],
  ["pc-i440fx-7.1", "1010G", "amd", 0xbfff_ffffn, [0x100_0000_0000n, 0x1fb_bfff_ffffn], 0xfffc_0000n],
  ["pc-i440fx-7.0", "1012G", "amd", 0xbfff_ffffn, [0x1_0000_0000n, 0xfd_3fff_ffffn], 0xfffc_0000n],
];

const plain = (memory: bigint): LayoutRequest => ({
  memory,
  maxMemory: memory,
  slots: 0,
  cpuVendor: "intel",
  bars64: 0n,
});
const bytes = ({ start, last }: GuestRange) => last - start + 1n;

describe("layouts", () => {
  test.each(QEMU)("%s -m %s with a CPU of %s is what QEMU shows", (machine, size, cpuVendor, low, high, rom) => {
    const { vmm, version } = chooseVmm(machine, undefined);
    const { ranges } = vmm.layout({ ...plain(parseSize(size, "-m")), version: version!, cpuVendor });
    const ram = ranges.filter((range) => range.kind === "ram");
    expect([ram[0]!.start, ram[0]!.last]).toEqual([0n, low]);
    expect(ram.slice(1).flatMap(({ start, last }) => [start, last])).toEqual(high);
    expect(ranges.find((range) => range.kind === "firmware")).toMatchObject({ start: rom, last: 0xffff_ffffn });
  });

  test("QEMU refuses 1010 GiB on pc-q35-7.1 with 41 bits: 0x1ffffffffff < 0x203ffffffff", () => {
    const { vmm, version } = chooseVmm("pc-q35-7.1", undefined);
    const { highest } = vmm.layout({ ...plain(1010n * GIB), version: version!, cpuVendor: "amd" });
    expect(highest).toBe(0x203_ffff_ffffn);
  });

  test("memory to be plugged counts for the relocation: 64G,maxmem=1T,slots=4 starts at 1 TiB (as QEMU shows)", () => {
    const { vmm, version } = chooseVmm("pc-q35-7.1", undefined);
    const { ranges } = vmm.layout({
      ...plain(64n * GIB),
      maxMemory: 1024n * GIB,
      slots: 4,
      version: version!,
      cpuVendor: "amd",
    });
    expect(ranges.find((range) => range.name.startsWith("RAM above"))).toMatchObject({
      start: 0x100_0000_0000n,
      last: 0x10f_7fff_ffffn,
    });
    expect(bytes(ranges.find((range) => range.kind === "hotplug")!)).toBe(964n * GIB);
  });

  test.each([
    ["virt", [0x4000_0000n, 0x100_3fff_ffffn]],
    ["pseries", [0n, 0xff_ffff_ffffn]],
    ["cloud-hypervisor", [0n, 0xbfff_ffffn, 0x1_0000_0000n, 0x100_3fff_ffffn]],
    ["crosvm", [0n, 0xcfff_ffffn, 0x1_0000_0000n, 0x100_2fff_ffffn]],
  ])("%s has 1 TiB where its source says", (name, expected) => {
    const { ranges } = chooseVmm(name, undefined).vmm.layout(plain(1n << 40n));
    expect(ranges.filter((range) => range.kind === "ram").flatMap(({ start, last }) => [start, last])).toEqual(
      expected,
    );
  });

  test("virt has its windows from 256 GiB on, and before 4.0 no more than 255 GiB of memory", () => {
    const { vmm } = chooseVmm("virt", undefined);
    const window = (memory: bigint) => vmm.layout(plain(memory)).ranges.find((range) => range.kind === "bars")!.start;
    expect([window(GIB), window(255n * GIB), window(600n * GIB)]).toEqual([512n * GIB, 512n * GIB, 1024n * GIB]);
    const old = { major: 3, minor: 1 };
    expect(vmm.layout({ ...plain(255n * GIB), version: old }).refusal).toBeUndefined();
    expect(vmm.layout({ ...plain(256n * GIB), version: old }).refusal).toContain("at most 255 GiB");
  });

  test.each([
    // edk2 PlatformDynamicMmioWindow: the last eighth, of 46 bits at most
    [46, "ovmf", "intel", 0x3800_0000_0000n, 0x3fff_ffff_ffffn],
    [52, "ovmf", "intel", 0x3800_0000_0000n, 0x3fff_ffff_ffffn],
    [39, "ovmf", "intel", 0x70_0000_0000n, 0x7f_ffff_ffffn],
    // 40 is QEMU's own number and not believed for an Intel CPU: behind memory
    [40, "ovmf", "intel", 0x8_8000_0000n, 0x10_7fff_ffffn],
    [40, "ovmf", "amd", 0xe0_0000_0000n, 0xff_ffff_ffffn],
    // SeaBIOS pci_setup: 44 bits at most with less than 1 TiB
    [46, "seabios", "intel", 0xe00_0000_0000n, 0xfff_ffff_ffffn],
    [39, "seabios", "intel", 0x70_0000_0000n, 0x7f_ffff_ffffn],
    [46, "direct", "intel", 0x8_8000_0000n, 0x10_7fff_ffffn],
  ] as const)(
    "with %d address bits %s places the BARs of a q35 with an %s CPU where its source says",
    (physBits, firmware, cpuVendor, start, last) => {
      const request = { ...plain(32n * GIB), physBits, firmware, cpuVendor, bars64: 16n * GIB };
      const bars = chooseVmm("q35", undefined)
        .vmm.layout(request)
        .ranges.filter(({ kind }) => kind === "bars");
      expect(bars.map((range) => [range.start, range.last])).toEqual([[start, last]]);
    },
  );

  test("cloud-hypervisor has BARs at the end of its address bits, crosvm its window up to there", () => {
    const barsOf = (name: string, physBits?: number) =>
      chooseVmm(name, undefined)
        .vmm.layout({ ...plain(8n * GIB), bars64: 16n * GIB, ...(physBits !== undefined && { physBits }) })
        .ranges.find(({ kind }) => kind === "bars")!;
    expect(barsOf("cloud-hypervisor", 39)).toMatchObject({ start: 0x78_0000_0000n, isFatal: true });
    expect(barsOf("cloud-hypervisor").last).toBe(2n ** 46n - 64n * KIB - MIB - 1n);
    expect([39, 46, 52].map((bits) => barsOf("crosvm", bits).last)).toEqual(
      [2n ** 39n, 2n ** 46n, 2n ** 46n].map((end) => end - 1n),
    );
  });

  test("never overlap, are ascending, RAM adds up to the memory, and BARs never reach into it", () => {
    const request = fc.record({
      vmm: fc.constantFrom(...VMMS),
      pages: fc.bigInt({ min: 256n, max: 1n << 32n }),
      more: fc.bigInt({ min: 0n, max: 1n << 20n }),
      slots: fc.integer({ min: 0, max: 256 }),
      version: fc.constantFrom(undefined, { major: 4, minor: 2 }, { major: 7, minor: 0 }, { major: 7, minor: 1 }),
      cpuVendor: fc.constantFrom("amd" as const, "intel" as const),
      bars64: fc.constantFrom(0n, 16n * MIB, 300n * GIB),
      physBits: fc.constantFrom(undefined, 36, 39, 40, 42, 46, 52, 57),
      firmware: fc.constantFrom(undefined, ...FIRMWARES),
    });
    fc.assert(
      fc.property(request, ({ vmm, pages, more, version, physBits, firmware, ...rest }) => {
        const memory = pages * 4n * KIB;
        const maxMemory = memory + more * GIB;
        const { ranges } = vmm.layout({
          memory,
          maxMemory,
          ...(version && { version }),
          ...(physBits !== undefined && { physBits }),
          ...(firmware && { firmware }),
          ...rest,
        });
        let end = 0n;
        for (const range of ranges.filter(({ kind }) => kind !== "bars")) {
          expect(range.start).toBeGreaterThanOrEqual(end);
          expect(range.last).toBeGreaterThanOrEqual(range.start);
          end = range.last + 1n;
        }
        for (const { start, last } of ranges.filter(({ kind }) => kind === "bars")) {
          expect(start).toBeGreaterThanOrEqual(end);
          expect(last).toBeGreaterThanOrEqual(start);
        }
        const ram = ranges.filter((range) => range.kind === "ram");
        expect(ram.reduce((sum, range) => sum + bytes(range), 0n)).toBe(memory);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ["qemu", undefined, /unknown VMM "qemu".*q35, i440fx/],
    ["q35", "seven", /not a QEMU version: "seven"/],
    ["q35", "1.0", /from version 2\.4 on/],
    ["pc-q35-7.0", "7.1", /contradicts/],
    ["crosvm", "7.1", /only QEMU's layouts/],
  ])("--vmm %s --vmm-version %s is refused in one line", (vmm, version, message) => {
    expect(() => chooseVmm(vmm, version)).toThrow(message);
  });
});
