import { describe, expect, test } from "vitest";
import { ARM_SOFTWARE_MSI_WINDOW, X86_MSI_WINDOW } from "../../src/iommu/known-regions.ts";
import { allDevices, deviceName } from "../../src/machine/find-device.ts";
import { changedRecording, RECORDED, recording } from "./recordings.ts";

const BITS_39 = 0x7f_ffff_ffffn;
const BITS_47 = 0x7fff_ffff_ffffn;
const BITS_48 = 0xffff_ffff_ffffn;
const BITS_64 = 0xffff_ffff_ffff_ffffn;
const SIZES = 0x4020_1000n;

/** model, last byte, page sizes, coherent, interrupt remapping, container, iommufd */
const FACTS: Record<string, readonly unknown[]> = {
  "amd-ivmd": ["amd-vi", BITS_64, 0xf_ff7f_ffff_f000n, true, true, "type1", false],
  intel39: ["intel-vtd", BITS_39, SIZES, false, true, "type1", false],
  "intel39-k72": ["intel-vtd", BITS_39, SIZES, false, true, "type1", false],
  "intel39-k72c": ["intel-vtd", BITS_39, SIZES, false, true, "iommufd", true],
  "intel39-k72fd": ["intel-vtd", BITS_39, SIZES, false, true, "type1", true],
  "intel39-resv-k72fd": ["intel-vtd", BITS_39, SIZES, false, true, "type1", true],
  "intel39-rmrr": ["intel-vtd", BITS_39, SIZES, false, true, "type1", false],
  intelsm: ["intel-vtd-sm", BITS_47, SIZES, false, true, "type1", false],
  "intelsm-k72fd": ["intel-vtd-sm", BITS_47, SIZES, false, true, "type1", true],
  "noiommu-k72fd": ["none", BITS_64, 0n, false, false, "type1", true],
  "powernv9-6.12-4k": ["spapr-tce", 0x7fff_ffffn, 0x4021_1000n, false, true, "spapr", false],
  "powernv9-6.12-64k": ["spapr-tce", 0x7fff_ffffn, 0x4021_1000n, false, true, "spapr", false],
  "pseries-6.12-64k": ["spapr-tce", 0x3fff_ffffn, 0x121_1000n, false, true, "spapr", false],
  "pseries-noddw-6.12-64k": ["spapr-tce", 0x3fff_ffffn, 0x1000n, false, true, "spapr", false],
  s390x: ["s390", 0x1_7fff_ffffn, 0x1000n, false, true, "type1", false],
  "s390x-mixed": ["s390", 0x1_3fff_ffffn, 0x1000n, false, true, "type1", false],
  smmuv3: ["arm-smmu-v3", BITS_48, SIZES, false, true, "type1", false],
  "smmuv3-nest-k72fd": ["arm-smmu-v3", BITS_48, SIZES, true, true, "type1", true],
  "smmuv3-s1-k72fd": ["arm-smmu-v3", BITS_48, SIZES, false, true, "type1", true],
  "smmuv3-two-k72fd": ["arm-smmu-v3", BITS_48, SIZES, true, true, "type1", true],
  virtio: ["virtio-iommu", BITS_39, 0xffff_ffff_ffff_f000n, false, false, "type1", false],
  "virtio-safe": ["virtio-iommu", BITS_39, 0xffff_ffff_ffff_f000n, false, false, "type1", false],
};

describe("a recording's host.json is a host", () => {
  test.each(RECORDED)("%s", (name) => {
    const host = recording(name);
    const { iommu } = host;
    expect(host.name).toBe(name);
    expect([
      iommu.model,
      iommu.apertureLast,
      iommu.pageSizes,
      iommu.cacheCoherent,
      iommu.interruptRemapping,
      host.vfioContainer,
      host.iommufd,
    ]).toEqual(FACTS[name]);
  });

  test("kernel, architecture and page size", () => {
    const facts = (name: string) => {
      const { kernel, arch, pageSize } = recording(name);
      return [kernel, arch, pageSize];
    };
    expect(facts("intel39")).toEqual(["6.12", "x86_64", 4096]);
    expect(facts("intel39-k72c")).toEqual(["7.2", "x86_64", 4096]);
    expect(facts("s390x")).toEqual(["6.12", "s390x", 4096]);
    expect(facts("smmuv3")).toEqual(["6.12", "arm64", 4096]);
    expect(facts("powernv9-6.12-64k")).toEqual(["6.12", "ppc64le", 65536]);
  });

  test("reserved regions of a group in order, as its sysfs file had them", () => {
    const [a, b] = recording("amd-ivmd").groups;
    expect(a!.reservedRegions.map((region) => region.type)).toEqual(["msi", "reserved"]);
    expect(b!.reservedRegions).toEqual([
      { start: 0x2000_0000n, last: 0x200f_ffffn, type: "direct" },
      { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: "msi" },
      { start: 0xfd_0000_0000n, last: 0xff_ffff_ffffn, type: "reserved" },
    ]);
  });

  test("devices with their ids, drivers and config space", () => {
    const devices = allDevices(recording("intel39"));
    expect(devices.map(({ device }) => deviceName(device))).toEqual([
      "0000:00:04.0",
      "0000:00:05.0",
      "0000:01:00.0",
      "0000:02:00.0",
      "0000:03:00.0",
      "0000:04:01.0",
      "0000:04:02.0",
    ]);
    const [edu, , nvme, , bridge] = devices.map(({ device }) => device);
    expect(edu).toMatchObject({
      name: "A",
      vendor: 0x1234,
      device: 0x11e8,
      class: 0x00ff00,
      revision: 0x10,
      subsystemVendor: 0x1af4,
      subsystemDevice: 0x1100,
      driver: "vfio-pci",
      model: "edu",
    });
    expect(nvme).toMatchObject({ vendor: 0x1b36, device: 0x10, revision: 2, model: "nvme" });
    expect(nvme!.bus === "pci" && nvme!.config?.length).toBe(4096);
    expect(bridge).toMatchObject({ driver: null, class: 0x060400 });
  });

  test("a device without class, name and driver, as POWER recordings have them", () => {
    const [group] = recording("powernv9-6.12-4k").groups;
    expect(group).toMatchObject({ id: 0, name: "domain0-pe1fd", type: "unknown", reservedRegions: [] });
    expect(group!.devices[0]).toMatchObject({ vendor: 0x8086, device: 0x10d3, class: 0x020000, driver: "vfio-pci" });
  });

  test("POWER's windows", () => {
    expect(recording("powernv9-6.12-64k").iommu.spapr).toEqual({
      platform: "powernv9",
      dma32WindowStart: 0n,
      dma32WindowSize: 0x8000_0000n,
      maxDynamicWindows: 2,
      levels: 5,
    });
    expect(recording("pseries-noddw-6.12-64k").iommu.spapr).toMatchObject({
      platform: "pseries",
      maxDynamicWindows: 0xffff_ffff,
      levels: 0,
    });
    expect(recording("intel39").iommu.spapr).toBeUndefined();
  });

  test("module options, also from the kernel's command line", () => {
    expect(recording("virtio").modules.vfioIommuType1.allowUnsafeInterrupts).toBe(true);
    expect(recording("virtio-safe").modules.vfioIommuType1.allowUnsafeInterrupts).toBe(false);
    expect(recording("intel39").modules.vfio).toEqual({});
    expect(recording("intel39-k72fd").modules.vfio).toEqual({ enableUnsafeNoiommuMode: false });
    expect(recording("noiommu-k72fd").modules.vfio).toEqual({ enableUnsafeNoiommuMode: true });
    // null where the module is not there
    expect(recording("intel39-k72c").modules.vfioIommuType1.dmaEntryLimit).toBe(65535);
    const loaded = changedRecording("intel39", (host) => {
      host.kernel_command_line += " vfio_iommu_type1.disable_hugepages=Y";
      host.modules.vfio_iommu_type1 = { dma_entry_limit: null, options: "dma_entry_limit=16 allow_unsafe_interrupts" };
    });
    expect(loaded.modules.vfioIommuType1).toEqual({
      dmaEntryLimit: 16,
      allowUnsafeInterrupts: true,
      disableHugepages: true,
    });
  });
});

describe("what a recording does not say follows from the IOMMU's model", () => {
  test("the aperture from address bits", () => {
    const intel48 = changedRecording("intel39", (host) => {
      host.iommu.address_bits = "48";
      delete host.iommu.iova_ranges_first_seen;
    });
    expect(intel48.iommu.apertureLast).toBe(BITS_48);
  });

  test("first-stage tables lose one of the address bits", () => {
    const blind = changedRecording("intelsm", (host) => delete host.iommu.iova_ranges_first_seen);
    expect(blind.iommu.apertureLast).toBe(BITS_47);
  });

  test("the aperture from the ranges when there are no address bits", () => {
    const narrow = changedRecording("smmuv3", (host) => {
      host.iommu.iova_ranges_first_seen = [["0x0", "0xfffffffffff"]];
    });
    expect(narrow.iommu.apertureLast).toBe(0xfff_ffff_ffffn);
  });

  test.each([
    ["amd-ivmd", BITS_64, 0xf_ff7f_ffff_f000n, true],
    ["smmuv3", BITS_48, SIZES, false],
    ["virtio", BITS_64, 0xffff_ffff_ffff_f000n, false],
    ["intel39", BITS_48, SIZES, false],
    ["intelsm", BITS_47, SIZES, false],
  ])("all of it: %s", (name, last, pageSizes, cacheCoherent) => {
    const bare = changedRecording(name, (host) => {
      host.iommu = { model: host.iommu.model };
    });
    expect(bare.iommu).toMatchObject({ apertureStart: 0n, apertureLast: last, pageSizes, cacheCoherent });
  });

  test("iommufd's container describes an empty address space, not the IOMMU", () => {
    const arm = changedRecording("smmuv3", (host) => {
      host.vfio_container = "iommufd";
      host.iommufd = true;
      host.iommu.page_sizes = "0xfffffffffffff000";
      host.iommu.cache_coherent = true;
      host.iommu.iova_ranges_first_seen = [["0x0", "0xffffffffffffffff"]];
    });
    expect(arm.iommu).toMatchObject({ apertureLast: BITS_48, pageSizes: SIZES, cacheCoherent: false });
  });

  test.each([
    ["powernv8", 0x8000_0000n, 0x1101_1000n, 5],
    ["powernv10", 0x8000_0000n, 0x4021_1000n, 5],
    ["pseries", 0x4000_0000n, 0x121_1000n, 1],
  ])("the windows of %s", (platform, size, pageSizes, levels) => {
    const host = changedRecording("powernv9-6.12-64k", (file) => {
      file.iommu = { model: "spapr-tce", platform };
    });
    expect(host.iommu).toMatchObject({ pageSizes, spapr: { platform, dma32WindowSize: size, levels } });
  });

  test("reserved regions of groups that list none", () => {
    const regionsOf = (name: string, arch?: string) =>
      changedRecording(name, (host) => {
        if (arch) host.arch = arch;
        for (const group of host.groups) delete group.reserved_regions;
      }).groups[0]!.reservedRegions;
    expect(regionsOf("intel39")).toEqual([X86_MSI_WINDOW.region]);
    expect(regionsOf("amd-ivmd").map((region) => region.type)).toEqual(["msi", "reserved"]);
    expect(regionsOf("smmuv3")).toEqual([ARM_SOFTWARE_MSI_WINDOW.region]);
    expect(regionsOf("virtio")).toEqual([X86_MSI_WINDOW.region]);
    expect(regionsOf("virtio", "arm64")).toEqual([ARM_SOFTWARE_MSI_WINDOW.region]);
    expect(regionsOf("noiommu-k72fd")).toEqual([]);
  });

  test("virtio-iommu isolates interrupts on Arm and not on x86", () => {
    expect(recording("virtio").iommu.interruptRemapping).toBe(false);
    expect(changedRecording("virtio", (host) => (host.arch = "arm64")).iommu.interruptRemapping).toBe(true);
  });
});
