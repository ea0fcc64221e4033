import { describe, expect, test } from "vitest";
import { explainFindings, type LogExplanation } from "../../../src/inspect/explain/explanation.ts";
import { FindingCollector } from "../../../src/inspect/explain/findings.ts";
import { LineJoiner } from "../../../src/inspect/explain/log-lines.ts";
import { logJson, logReport, PLAIN_EXPLANATION } from "../../../src/inspect/explain/report.ts";
import { hostOracle } from "../../../src/library/explain/ask-host.ts";
import { defineHost } from "../../../src/machine/define-host.ts";
import type { HostDescription } from "../../../src/machine/host-description.ts";
import { loadHost } from "../../../src/machine/load-host.ts";

function explain(log: string, host?: HostDescription): LogExplanation {
  const collector = new FindingCollector();
  const joiner = new LineJoiner((line) => collector.add(line));
  for (const line of log.trim().split("\n")) joiner.line(line);
  joiner.end();
  return explainFindings(collector, joiner.count, host && hostOracle(host));
}

const report = (log: LogExplanation) => [...logReport(log, PLAIN_EXPLANATION)].join("\n");
const sure = ({ explained }: LogExplanation) =>
  explained.map(({ causes }) => causes.filter(({ sureness }) => sureness === "certain").map(({ cause }) => cause));

/** A desktop: the IOMMU has 39 bits, and the GPU's audio function is the host's. */
const desk = defineHost({
  name: "desk",
  kernel: "6.8",
  iommu: { model: "intel-vtd", address_bits: 39 },
  groups: [
    {
      id: 15,
      devices: [
        { bdf: "0000:01:00.0", id: "10de:2206", class: 0x030000, driver: "vfio-pci" },
        { bdf: "0000:01:00.1", id: "10de:1aef", class: 0x040300, driver: "snd_hda_intel" },
      ],
    },
  ],
});

// https://github.com/bpg/terraform-provider-proxmox/issues/1353
const HIGH_BAR = `
kvm: VFIO_MAP_DMA failed: Invalid argument
kvm: vfio_dma_map(0x5e043daea2f0, 0x380010000000, 0x2000000, 0x771a6ce00000) = -22 (Invalid argument)
kvm: VFIO_MAP_DMA failed: Invalid argument
kvm: vfio_dma_map(0x5e043daea2f0, 0x380000000000, 0x10000000, 0x771a38000000) = -22 (Invalid argument)`;

// https://github.com/kubevirt/kubevirt/issues/6718
const NOT_VIABLE = `
qemu-kvm: -device vfio-pci,host=0000:01:00.0,id=ua-gpu1,bus=pci.5,addr=0x0: vfio 0000:01:00.0: group 15 is not viable
Please ensure all devices within the iommu_group are bound to their vfio bus driver.`;

describe("a log", () => {
  test("says the same in several lines, and is told once", () => {
    const { explained } = explain(HIGH_BAR);
    expect(explained).toHaveLength(1);
    const [{ finding, causes }] = explained as [LogExplanation["explained"][0]];
    expect([finding.count, finding.line.number, finding.lines]).toEqual([4, 2, [1, 2, 3, 4]]);
    expect(finding.ranges).toEqual([
      { iova: 0x380010000000n, size: 0x2000000n },
      { iova: 0x380000000000n, size: 0x10000000n },
    ]);
    expect(causes[0]).toMatchObject({ sureness: "likely", cause: expect.stringContaining("aperture") });
    expect(causes.map(({ cause }) => cause).join()).not.toContain("0xfee00000");
  });

  test("is certain of what another of its lines says", () => {
    const alone = explain("VFIO_MAP_DMA failed: Cannot allocate memory");
    expect(sure(alone)).toEqual([[]]);
    const both = explain(`
      VFIO_MAP_DMA failed: Cannot allocate memory
      [ 12.5] vfio_pin_pages_remote: RLIMIT_MEMLOCK (65536) exceeded`);
    expect(sure(both)[0]).toEqual([expect.stringContaining("RLIMIT_MEMLOCK")]);
    expect(both.explained[0]!.causes[0]!.evidence).toBe("line 2 says so");
  });

  test("is not certain of what is said of another device", () => {
    const log = explain(`
      vfio 0000:01:00.0: error getting device from group 1: Invalid argument
      vfio-pci 0000:02:00.0: Unable to change power state from D3cold to D0, device inaccessible`);
    expect(sure(log)[0]).toEqual([]);
  });

  test("is not certain of a device that only the other line names", () => {
    const log = explain(`
      kvm: vfio: Unable to power on device, stuck in D3
      vfio-pci 0000:02:00.0: Unable to change power state from D3cold to D0, device inaccessible`);
    expect(log.explained[0]!.causes).toMatchObject([{ sureness: "likely", evidence: "line 2 points to it" }]);
    const claimed = explain(`
      vfio_region_write(0000:05:00.0:region0+0x120, 0x0,4) failed: Device or resource busy
      vfio-pci 0000:05:00.0: BAR 0: can't reserve [mem 0xd0000000-0xdfffffff 64bit pref]`);
    expect(claimed.explained[0]!.causes).toMatchObject([{ sureness: "certain", evidence: "line 2 says so" }]);
  });

  test("tells what only follows apart, and as much as there is when that is all", () => {
    const log = explain(`${HIGH_BAR}\nqemu: hardware error: vfio: DMA mapping failed, unable to continue`);
    expect(log.explained).toHaveLength(1);
    expect(report(log)).toMatch(
      /^follows from that\n {2}line 5: QEMU ends because a range of the guest was not mapped$/m,
    );
    expect(explain("qemu: hardware error: vfio: DMA mapping failed, unable to continue").explained).toHaveLength(1);
  });

  test("says of a line about VFIO that nobody knows that it is unknown", () => {
    const log = explain(
      "vfio 0000:01:00.0: something failed in a new way\nan ordinary line\nvfio-pci 0000:01:00.0: enabled",
    );
    expect(log.explained).toEqual([]);
    expect(log.unknown.map(({ line }) => line.number)).toEqual([1]);
    expect(report(log)).toMatch(/unknown to uvfio\n {2}line 1: vfio 0000:01:00.0: something failed/);
  });

  test("has messages of several lines, and several lines in one message", () => {
    // https://github.com/pcengines/apu2-documentation/issues/240
    const log = explain(`
kernel: [  221.562629] AMD-Vi: Event logged [
kernel: [  221.565929] IO_PAGE_FAULT device=05:00.0 domain=0x0012 address=0x00000000ff6101b0 flags=0x0070]`);
    expect(log.explained.map(({ finding }) => [finding.rule.id, finding.facts.bdf])).toEqual([
      ["amd-page-fault", "0000:05:00.0"],
    ]);
    // https://github.com/kubevirt/kubevirt/issues/6718
    const json = explain(
      String.raw`Message='vfio 0000:01:00.0: group 1 is not viable\nPlease ensure all devices within the iommu_group are bound to their vfio bus driver.'`,
    );
    expect(json.explained.map(({ finding }) => finding.rule.id)).toEqual(["not-viable"]);
    expect(json.remarks.map(({ finding }) => finding.rule.id)).toEqual(["qemu-not-viable-hint"]);
  });

  test("answers a call that has no causes of its own from the table of errors", () => {
    const [explained] = explain("VFIO_DEVICE_PCI_HOT_RESET failed: ENOTTY").explained;
    expect(explained!.request).toBe("VFIO_DEVICE_PCI_HOT_RESET");
    expect(explained!.causes.map(({ cause }) => cause).join()).toContain("did not come up again in time");
  });

  test("is JSON for programs", () => {
    expect(logJson(explain(HIGH_BAR))).toMatchObject({
      lines: 4,
      explained: [{ line: 2, rule: "qemu-dma-map", errno: "EINVAL", request: "VFIO_IOMMU_MAP_DMA", count: 4 }],
    });
  });
});

describe("with a captured host", () => {
  test("a mapping that the host refuses has its reason, for certain", () => {
    const log = explain(HIGH_BAR, desk);
    expect(sure(log)[0]).toEqual([
      "iova 0x380010000000-0x380011ffffff lies outside what the IOMMU can translate, 0x0-0x7fffffffff (Intel VT-d, 39 address bits)",
      "iova 0x380000000000-0x38000fffffff lies outside what the IOMMU can translate, 0x0-0x7fffffffff (Intel VT-d, 39 address bits)",
    ]);
  });

  test("the interrupt window and HyperTransport's range are named", async () => {
    const amd = await loadHost("amd");
    const map = (iova: string) => `vfio_dma_map(0x55, ${iova}, 0x40000000, 0x77) = -22 (Invalid argument)`;
    expect(sure(explain(map("0xc0000000"), amd))[0]!.join()).toContain("0xfee00000-0xfeefffff (msi) of 0000:01:00.0");
    expect(sure(explain(map("0xfd00000000"), amd))[0]!.join()).toContain("0xfd00000000-0xffffffffff (reserved)");
  });

  test("a mapping that the host takes is not blamed on the address", async () => {
    const log = explain(HIGH_BAR, await loadHost("intel"));
    expect(sure(log)[0]).toEqual([]);
    expect(log.explained[0]!.host[0]).toContain("intel takes the mapping");
    expect(log.explained[0]!.causes.map(({ cause }) => cause).join()).not.toContain("aperture");
  });

  test("a group that is not viable names the device that is in the way", () => {
    const [causes] = sure(explain(NOT_VIABLE, desk));
    expect(causes).toEqual([expect.stringContaining("0000:01:00.1 (snd_hda_intel) belongs to the host")]);
  });

  test("missing interrupt remapping is found", () => {
    const unsafe = defineHost({
      name: "unsafe",
      kernel: "5.15",
      iommu: { model: "intel-vtd", interrupt_remapping: false },
      groups: [{ id: 1, devices: [{ bdf: "0000:01:00.0", id: "8086:10d3", driver: "vfio-pci" }] }],
    });
    const line =
      "vfio 0000:01:00.0: failed to setup container for group 1: Failed to set iommu for container: Operation not permitted";
    expect(sure(explain(line, unsafe))[0]!.join()).toContain("does not remap interrupts");
  });

  test("a device that the host has not is said", () => {
    const log = explain("vfio 0000:99:00.0: failed to open /dev/vfio/77: No such file or directory", desk);
    expect(log.explained[0]!.host).toEqual(["desk has not 0000:99:00.0: is it the host of this log?"]);
  });
});
