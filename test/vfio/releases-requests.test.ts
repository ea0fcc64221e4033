import { describe, expect, test } from "vitest";
import type { PciDeviceDescription } from "../../src/machine/host-description.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { parseCapabilityChain } from "../../src/uapi/capability-chain.ts";
import { VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU } from "../../src/uapi/vfio.ts";
import {
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VfioDeviceInfo,
  VfioIrqInfo,
  VfioRegionInfo,
} from "../../src/uapi/vfio-device.ts";
import { VFIO_DEVICE_FEATURE, VFIO_DEVICE_FEATURE_PROBE } from "../../src/uapi/vfio-feature.ts";
import {
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
  VfioDeviceIoeventfd,
} from "../../src/uapi/vfio-pci.ts";
import { VFIO_IOMMU_SPAPR_TCE_GET_INFO } from "../../src/uapi/vfio-spapr.ts";
import { VFIO_IOMMU_DIRTY_PAGES, VfioIommuType1Info } from "../../src/uapi/vfio-type1.ts";
import { readBundle } from "../recordings/bundle.ts";
import { CONFIG } from "./pci/device-program.ts";
import { Program, type Result } from "./program.ts";

const INTEL39 = readBundle("intel39").host;
const EDU = { group: 2, name: "0000:00:04.0" };
/** Its MSI-X table takes the page 0x2000 of BAR 0, which has 0x4000 bytes. */
const NVME = { group: 8, name: "0000:01:00.0" };

/** A program on a release, with a device open in a container of version 1, which all releases have. */
class ReleaseProgram extends Program {
  readonly container1: Result;
  readonly device: Result;
  readonly #buffer: number;

  constructor(kernel: string, { group, name } = EDU) {
    super({ ...INTEL39, kernel });
    const opened = this.container(group, 1);
    this.container1 = opened.container;
    this.device = this.deviceFd(opened.group, name);
    this.#buffer = this.memory(65536);
  }

  get file() {
    return this.task.files.get(Number(this.device))!;
  }

  sized(request: number, argsz: number, words: readonly number[] = []): Result {
    const bytes = new Uint8Array(64).fill(0xaa);
    new Uint32Array(bytes.buffer).set([argsz, ...words]);
    return this.ioctlBytes(this.device, request, bytes);
  }

  access(write: boolean, offset: number, length: number): Result {
    return this.attempt(() => this.file[write ? "write" : "read"](this.task, this.#buffer, length, offset));
  }

  read32(offset: number): number | string {
    const result = this.access(false, offset, 4);
    if (typeof result === "string") return result;
    const bytes = new Uint8Array(4);
    this.task.memory.copyIn(this.#buffer, bytes, 4);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  mapRegion(offset: number, length: number): Result {
    return this.attempt(() => {
      this.file.mmap(this.task, { offset, length, read: true, write: true, shared: true });
      return 0;
    });
  }
}

const extension = (kernel: string, number: number) => {
  const program = new ReleaseProgram(kernel);
  return program.ioctl(program.container1, VFIO_CHECK_EXTENSION, number);
};

/** Extension, and the releases around its coming and going: [before, 0], [since, 1] ... */
const EXTENSIONS: readonly (readonly [
  name: string,
  number: number,
  ...answers: readonly (readonly [string, number])[],
])[] = [
  ["TYPE1", 1, ["3.6", 1], ["7.2", 1]],
  ["TYPE1v2", 3, ["3.14", 0], ["3.15", 1], ["7.2", 1]],
  ["NESTING", 6, ["3.17", 0], ["3.18", 1], ["6.12", 1], ["6.13", 0]],
  ["NOIOMMU", 8, ["4.4", 0], ["7.2", 0]],
  ["UNMAP_ALL", 9, ["5.11", 0], ["5.12", 1]],
  ["UPDATE_VADDR", 10, ["5.11", 0], ["5.12", 1]],
  ["SPAPR_TCE", 2, ["7.2", 0]],
  ["EEH", 5, ["7.2", 0]],
];

describe("CHECK_EXTENSION", () => {
  test.each(
    EXTENSIONS.flatMap(([name, number, ...answers]) =>
      answers.map(([kernel, answer]) => [name, number, kernel, answer]),
    ),
  )("%s (%i), %s: %i", (_name, number, kernel, answer) => {
    expect(extension(kernel as string, number as number)).toBe(answer);
  });

  test.each([
    ["3.14", 0],
    ["3.15", 1],
  ])("DMA_CC of a coherent IOMMU, %s: %i", (kernel, answer) => {
    const iommu = { ...INTEL39.iommu, cacheCoherent: true };
    const program = new Program({ ...INTEL39, kernel, iommu });
    const { container } = program.container(EDU.group, 1);
    expect(program.ioctl(container, VFIO_CHECK_EXTENSION, 4)).toBe(answer);
  });
});

test.each([
  ["3.14", 3, "ENODEV"],
  ["3.15", 3, 0],
  ["3.17", 6, "ENODEV"],
  ["3.18", 6, "EINVAL"],
  ["6.13", 6, "ENODEV"],
])("SET_IOMMU, %s, type %i: %s", (kernel, type, answer) => {
  const program = new Program({ ...INTEL39, kernel });
  const container = program.open("/dev/vfio/vfio");
  expect(program.setContainer(program.open(`/dev/vfio/${EDU.group}`), container)).toBe(0);
  expect(program.ioctl(container, VFIO_SET_IOMMU, type)).toBe(answer);
});

/** Request, its release, and the answers before and since. */
const ATTEMPTS: readonly (readonly [string, string, string, (program: ReleaseProgram) => Result, Result, Result])[] = [
  [
    "GET_PCI_HOT_RESET_INFO",
    "3.11",
    "3.12",
    (p) => p.sized(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 12),
    "ENOTTY",
    "ENODEV",
  ],
  ["PCI_HOT_RESET", "3.11", "3.12", (p) => p.sized(VFIO_DEVICE_PCI_HOT_RESET, 12, [0, 1]), "ENOTTY", "ENODEV"],
  [
    "PCI_HOT_RESET of no group",
    "6.5",
    "6.6",
    (p) => p.sized(VFIO_DEVICE_PCI_HOT_RESET, 12, [0, 0]),
    "ENODEV",
    "EINVAL",
  ],
  [
    "IOEVENTFD",
    "4.16",
    "4.17",
    (p) => p.sized(VFIO_DEVICE_IOEVENTFD, VfioDeviceIoeventfd.size - 8),
    "ENOTTY",
    "EINVAL",
  ],
  ["FEATURE with a short argsz", "5.6", "5.7", (p) => p.sized(VFIO_DEVICE_FEATURE, 4), "ENOTTY", "EINVAL"],
  ["low power", "6.0", "6.1", (p) => p.sized(VFIO_DEVICE_FEATURE, 8, [VFIO_DEVICE_FEATURE_PROBE | 3]), "ENOTTY", 0],
  ["DMA_BUF", "6.18", "6.19", (p) => p.sized(VFIO_DEVICE_FEATURE, 8, [VFIO_DEVICE_FEATURE_PROBE | 11]), "ENOTTY", 0],
  ["DIRTY_PAGES", "5.7", "5.8", (p) => p.ioctl(p.container1, VFIO_IOMMU_DIRTY_PAGES, 1), "ENOTTY", "EACCES"],
  ["IRQ index ERR", "3.9", "3.10", (p) => p.sized(VFIO_DEVICE_GET_IRQ_INFO, VfioIrqInfo.size, [0, 3]), "EINVAL", 0],
  ["IRQ index REQ", "3.19", "4.0", (p) => p.sized(VFIO_DEVICE_GET_IRQ_INFO, VfioIrqInfo.size, [0, 4]), "EINVAL", 0],
  ["a read beyond a BAR's end", "3.8", "3.9", (p) => p.access(false, 0x3ffc, 8), "EINVAL", 4],
  ["mmap of the MSI-X table", "4.15", "4.16", (p) => p.mapRegion(0, 0x4000), "EINVAL", 0],
  ["mmap around the MSI-X table", "3.6", "4.16", (p) => p.mapRegion(0, 0x2000), 0, 0],
];

describe("requests", () => {
  test.each(ATTEMPTS)("%s: %s and %s", (name, before, since, attempt, earlier, later) => {
    // all but the hot reset of a device on a root bus are tried with the NVMe controller, which is PCI Express and has MSI-X
    const device = name.includes("HOT_RESET") ? EDU : NVME;
    expect([attempt(new ReleaseProgram(before, device)), attempt(new ReleaseProgram(since, device))]).toEqual([
      earlier,
      later,
    ]);
  });

  test.each([
    ["5.6", "ENODEV"],
    ["5.7", "EINVAL"],
  ])("a token behind a device's name, %s: %s", (kernel, answer) => {
    const program = new Program({ ...INTEL39, kernel });
    const { group } = program.container(EDU.group, 1);
    expect(program.deviceFd(group, `${EDU.name} vf_token=1234`)).toBe(answer);
  });
});

describe("GET_INFO of a device", () => {
  test.each([
    // regions, interrupt indexes, bytes written
    ["3.6", 8, 3, 16],
    ["3.9", 9, 3, 16],
    ["3.10", 9, 4, 16],
    ["4.0", 9, 5, 16],
    ["5.9", 9, 5, 16],
    ["5.10", 9, 5, 20],
    ["6.5", 9, 5, 20],
    ["6.6", 9, 5, 24],
  ])("%s: %i regions, %i interrupt indexes, %i bytes", (kernel, regions, irqs, written) => {
    const program = new ReleaseProgram(kernel);
    const bytes = new Uint8Array(32).fill(0xaa);
    new Uint32Array(bytes.buffer)[0] = 32;
    expect(program.ioctlBytes(program.device, VFIO_DEVICE_GET_INFO, bytes)).toBe(0);
    const info = VfioDeviceInfo.decode(bytes);
    expect([info.num_regions, info.num_irqs]).toEqual([regions, irqs]);
    expect(bytes.findIndex((byte, at) => at >= 16 && byte === 0xaa)).toBe(written);
  });
});

describe("GET_REGION_INFO of the region with the MSI-X table", () => {
  const regionInfo = (kernel: string) => {
    const program = new ReleaseProgram(kernel, NVME);
    const bytes = VfioRegionInfo.encode({ argsz: 256, index: 0 }, 224);
    expect(program.ioctlBytes(program.device, VFIO_DEVICE_GET_REGION_INFO, bytes)).toBe(0);
    const { flags, cap_offset: at } = VfioRegionInfo.decode(bytes);
    return { flags, chain: flags & 8 ? parseCapabilityChain(bytes, at, VfioRegionInfo.size) : [] };
  };

  test.each([
    ["4.5", 7, []],
    ["4.6", 15, [1]],
    ["4.15", 15, [1]],
    ["4.16", 15, [3]],
  ])("%s: flags %i, capabilities %s", (kernel, flags, ids) => {
    const info = regionInfo(kernel);
    expect([info.flags, info.chain.map(({ id }) => id)]).toEqual([flags, ids]);
  });

  test("the areas around it", () => {
    const { body } = regionInfo("4.10").chain[0]!;
    const view = new DataView(body.buffer, body.byteOffset);
    expect(view.getUint32(0, true)).toBe(2);
    expect([8, 16, 24, 32].map((at) => Number(view.getBigUint64(at, true)))).toEqual([0, 0x2000, 0x3000, 0x1000]);
  });
});

test.each([
  ["4.7", 3],
  ["4.8", 7],
])("a BAR of less than a page, alone in its page, %s: flags %i", (kernel, flags) => {
  const groups = INTEL39.groups.map((group) => ({
    ...group,
    devices: group.devices.map((device) =>
      device.bus === "pci" && device.bdf === EDU.name
        ? {
            ...device,
            model: "generic" as const,
            options: {},
            mmap: true,
            bars: [{ index: 0, size: 256, type: "memory" as const }],
          }
        : device,
    ),
  }));
  const program = new Program({ ...INTEL39, kernel, groups });
  const device = program.deviceFd(program.container(EDU.group, 1).group, EDU.name);
  const bytes = VfioRegionInfo.encode({ argsz: VfioRegionInfo.size, index: 0 });
  expect(program.ioctlBytes(device, VFIO_DEVICE_GET_REGION_INFO, bytes)).toBe(0);
  expect(VfioRegionInfo.decode(bytes).flags).toBe(flags);
});

test.each([
  ["5.7", 0xffff_ffff, 4],
  ["5.8", "EIO", "EIO"],
])("registers with memory switched off, %s: read %s, write %s", (kernel, read, written) => {
  const program = new ReleaseProgram(kernel);
  expect(program.read32(0)).toBe(0x010000ed);
  program.task.memory.copyOut(program.memory(4096), new Uint8Array(2), 2);
  const command = program.memory(4096);
  expect(program.attempt(() => program.file.write(program.task, command, 2, CONFIG + 4))).toBe(2);
  expect([program.read32(0), program.access(true, 0, 4)]).toEqual([read, written]);
});

describe("mappings", () => {
  const PAGE = 4096n;
  const mapped = (kernel: string) => {
    const program = new ReleaseProgram(kernel);
    const memory = program.memory(16 * 4096);
    expect(program.map(program.container1, 0x10_0000n, memory, 8n * PAGE)).toBe(0);
    return { program, memory, container: program.container1 };
  };

  test.each([
    ["3.10", "EBUSY"],
    ["3.11", "EEXIST"],
  ])("one over another, %s: %s", (kernel, errno) => {
    const { program, container, memory } = mapped(kernel);
    expect(program.map(container, 0x10_0000n, memory, PAGE)).toBe(errno);
  });

  test.each([
    // the size in the structure afterwards: as it was before it was reported, what went, nothing of a mapping that is kept whole
    ["3.10", PAGE, 0],
    ["3.11", PAGE, 0],
    ["3.14", PAGE, 0],
    ["3.15", 0n, "EEXIST"],
  ])("a page out of the middle of one, v1, %s: size %s", (kernel, size, again) => {
    const { program, container, memory } = mapped(kernel);
    const before = program.task.memory.lockedPages;
    expect(program.unmap(container, 0x10_2000n, PAGE)).toBe(size);
    expect(program.task.memory.lockedPages).toBe(before - (again === 0 ? 1 : 0));
    expect(program.map(container, 0x10_2000n, memory, PAGE)).toBe(again);
    // what lies around is there still
    expect(program.map(container, 0x10_1000n, memory, PAGE)).toBe(kernel === "3.10" ? "EBUSY" : "EEXIST");
    expect(program.map(container, 0x10_3000n, memory, PAGE)).toBe(kernel === "3.10" ? "EBUSY" : "EEXIST");
    expect(program.unmap(container, 0n, 1n << 38n)).toBe(kernel === "3.10" ? 1n << 38n : 8n * PAGE);
    expect(program.task.memory.lockedPages).toBe(before - 8);
  });

  test.each([
    ["3.10", 0n],
    ["3.11", "EINVAL"],
  ])("UNMAP_DMA of nothing, %s: %s", (kernel, answer) => {
    const { program, container } = mapped(kernel);
    expect(program.unmap(container, 0n, 0n)).toBe(answer);
  });

  test.each([
    ["4.14", 0n],
    ["4.15", "EINVAL"],
    ["6.18", "EOVERFLOW"],
  ])("UNMAP_DMA past 2^64, %s: %s", (kernel, answer) => {
    const { program, container } = mapped(kernel);
    expect(program.unmap(container, (1n << 64n) - PAGE, 2n * PAGE)).toBe(answer);
  });

  test.each([
    ["4.14", 0n],
    ["4.15", "EINVAL"],
    ["4.20", "EINVAL"],
    ["5.0", 0n],
  ])("UNMAP_DMA up to the last byte, %s: %s", (kernel, answer) => {
    const { program, container } = mapped(kernel);
    expect(program.unmap(container, (1n << 64n) - PAGE, PAGE)).toBe(answer);
  });

  test.each([
    ["4.4", 0, false],
    ["4.5", 1, false],
    ["5.3", 1, false],
    ["5.4", 3, true],
  ])("GET_INFO, %s: flags %i", (kernel, flags, hasChain) => {
    const program = new ReleaseProgram(kernel);
    const info = VfioIommuType1Info.decode(program.info(program.container1));
    expect([info.flags, info.cap_offset !== 0]).toEqual([flags, hasChain]);
  });
});

test.each([
  // [v1, v2, EEH] extensions, SET_IOMMU of v2, bytes of GET_INFO that are written
  ["3.16", [1, 0, 0], "ENODEV", 16],
  ["3.17", [1, 0, 1], "ENODEV", 16],
  ["4.1", [1, 0, 1], "ENODEV", 16],
  ["4.2", [1, 1, 1], 0, 32],
] as const)("sPAPR, %s", (kernel, extensions, setV2, written) => {
  const text = `name: power
kernel: "${kernel}"
iommu: { model: spapr-tce, platform: powernv8 }
groups: [{ id: 1, devices: [{ bdf: 0000:00:04.0, id: "1234:11e8" }] }]
`;
  const program = new Program(parseHost(text, "power.yaml"));
  const container = program.open("/dev/vfio/vfio");
  expect([2, 7, 5].map((number) => program.ioctl(container, VFIO_CHECK_EXTENSION, number))).toEqual(extensions);
  expect(program.setContainer(program.open("/dev/vfio/1"), container)).toBe(0);
  expect(program.ioctl(container, VFIO_SET_IOMMU, 7)).toBe(setV2);
  if (setV2 !== 0) expect(program.ioctl(container, VFIO_SET_IOMMU, 2)).toBe(0);
  const bytes = new Uint8Array(64).fill(0xaa);
  new Uint32Array(bytes.buffer)[0] = 64;
  expect(program.ioctlBytes(container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, bytes)).toBe(0);
  expect(bytes.findIndex((byte, at) => at >= 16 && byte === 0xaa)).toBe(written);
});

test.each([
  ["3.15", 4],
  ["3.16", 2],
])("MSI vectors of a device that has two, %s: %i", (kernel, count) => {
  const config = Uint8Array.from({ length: 256 }, () => 0);
  const view = new DataView(config.buffer);
  view.setUint32(0, 0x11e8_1234, true);
  view.setUint16(6, 0x10, true);
  config[0x34] = 0x40;
  // MSI, one bit of "multiple messages capable"
  config.set([5, 0, 0x82, 0], 0x40);
  const groups = [
    { ...INTEL39.groups[0]!, devices: [{ ...(INTEL39.groups[0]!.devices[0] as PciDeviceDescription), config }] },
  ];
  const program = new Program({ ...INTEL39, kernel, groups });
  const device = program.deviceFd(program.container(EDU.group, 1).group, EDU.name);
  const bytes = VfioIrqInfo.encode({ argsz: VfioIrqInfo.size, index: 1 });
  expect(program.ioctlBytes(device, VFIO_DEVICE_GET_IRQ_INFO, bytes)).toBe(0);
  expect(VfioIrqInfo.decode(bytes).count).toBe(count);
});

test("a container of no-IOMMU groups came with 4.5", () => {
  const groups = INTEL39.groups.slice(0, 1);
  const iommu = { ...INTEL39.iommu, model: "none" };
  const modules = { ...INTEL39.modules, vfio: { enableUnsafeNoiommuMode: true } };
  const open = (kernel: string) =>
    new Program({ ...INTEL39, kernel, groups, iommu, modules }).open(`/dev/vfio/noiommu-${groups[0]!.id}`);
  expect([open("4.4"), typeof open("4.5")]).toEqual(["ENOENT", "number"]);
});
