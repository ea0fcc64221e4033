import { beforeEach, describe, expect, test } from "vitest";
import { Host } from "../../src/host/host.ts";
import type { GroupDescription, HostDescription } from "../../src/machine/host-description.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { IOMMU_HWPT_GET_DIRTY_BITMAP, IommuHwptGetDirtyBitmap } from "../../src/uapi/iommufd-hwpt.ts";
import { VFIO_DEVICE_FEATURE } from "../../src/uapi/vfio-feature.ts";
import type { Result } from "../vfio/program.ts";
import { EduDevice } from "./edu-device.ts";
import { IommufdProgram } from "./iommufd-program.ts";

const PAGE = 4096n;
const BASE = 0x100000n;
const PAGES = 64n;
const [NEST_PARENT, DIRTY, PASID] = [1, 2, 8];
const NO_CLEAR = 1;
const LAST = 2n ** 64n - 1n;
/** Of `lab`: two DMA engines and the edu. */
const [ENGINE, EDU] = ["/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio2"];

const lab = { ...readyMadeHost("lab")!, kernel: "7.2" };

let program: IommufdProgram;
let warnings: string[];
let fd: Result;
let device: Result;
let ioas: Result;
let hwpt: Result;
let edu: EduDevice;
let memory: number;

/** A program on a host whose edu is attached to a page table that tells what is written, with 64 pages mapped. */
function start(host: HostDescription): void {
  warnings = [];
  program = new IommufdProgram(host, {}, new Host(host, { onWarning: (message) => warnings.push(message) }));
  fd = program.iommufd();
  device = program.bind(program.open(EDU), fd);
  ioas = program.ioas(fd);
  hwpt = program.hwpt(fd, device, ioas, DIRTY);
  const file = Number(fd) + 1;
  expect(program.attach(file, hwpt)).toBe(hwpt);
  edu = new EduDevice(program, file);
  memory = program.memory(Number(PAGES * PAGE));
  expect(program.mapIoas(fd, ioas, memory, PAGES * PAGE, { iova: BASE })).toBe(BASE);
}

beforeEach(() => start(lab));

function track(on: boolean, id = hwpt, flags = Number(on)): Result {
  return program.setDirtyTracking(fd, id, on, flags);
}

interface Query {
  readonly hwpt_id?: number;
  readonly flags?: number;
  readonly iova?: bigint;
  readonly length?: bigint;
  readonly page_size?: bigint;
  readonly data?: bigint;
  readonly __reserved?: number;
}

/** The words of the bitmap, or the errno. */
function dirty(query: Query = {}, words = 1, before = 0n): string | bigint[] {
  const data = program.memory(4096);
  const view = new DataView(new ArrayBuffer(8 * words));
  for (let i = 0; i < words; i++) view.setBigUint64(8 * i, before, true);
  program.task.memory.copyOut(data, new Uint8Array(view.buffer), 8 * words);
  const bytes = IommuHwptGetDirtyBitmap.encode({
    size: IommuHwptGetDirtyBitmap.size,
    hwpt_id: Number(hwpt),
    iova: BASE,
    length: PAGES * PAGE,
    page_size: PAGE,
    data: BigInt(data),
    ...query,
  });
  const result = program.ioctlBytes(fd, IOMMU_HWPT_GET_DIRTY_BITMAP, bytes);
  if (result !== 0) return String(result);
  program.task.memory.copyIn(data, new Uint8Array(view.buffer), 8 * words);
  return Array.from({ length: words }, (_, i) => view.getBigUint64(8 * i, true));
}

describe("dirty pages", () => {
  test("are those that a device wrote while it was looked for, and are told once", () => {
    edu.write(BASE, 8);
    expect(track(true)).toBe(0);
    expect(dirty()).toEqual([0n]);
    edu.write(BASE + 3n * PAGE + 100n, 1);
    edu.write(BASE + 8n * PAGE - 4n, 8);
    edu.read(BASE + 20n * PAGE, 100);
    expect(dirty({ flags: NO_CLEAR })).toEqual([0b1_1000_1000n]);
    expect(dirty()).toEqual([0b1_1000_1000n]);
    expect(dirty()).toEqual([0n]);
    edu.write(BASE, 1);
    expect(dirty()).toEqual([1n]);
  });

  test("are told for a part of the range, counted from its start", () => {
    track(true);
    edu.write(BASE + 5n * PAGE, 1);
    edu.write(BASE + 9n * PAGE, 1);
    expect(dirty({ iova: BASE + 4n * PAGE, length: 4n * PAGE })).toEqual([2n]);
    expect(dirty()).toEqual([1n << 9n]);
  });

  test("only set bits: those that are set stay", () => {
    track(true);
    edu.write(BASE, 1);
    expect(dirty({}, 1, 0xf0n)).toEqual([0xf1n]);
  });

  test("are told in the size that is asked for", () => {
    track(true);
    edu.write(BASE + 17n * PAGE, 1);
    expect(dirty({ page_size: 16n * PAGE, flags: NO_CLEAR })).toEqual([0b10n]);
    // finer than the IOMMU can tell: all bits of its page
    expect(dirty({ page_size: 1024n, flags: NO_CLEAR }, 4)).toEqual([0n, 0xf0n, 0n, 0n]);
    // of no power of two: the lowest bit of it
    expect(dirty({ page_size: 3n * PAGE, iova: BASE + 16n * PAGE, length: 4n * PAGE, flags: NO_CLEAR })).toEqual([2n]);
    expect(dirty({ page_size: 3n * PAGE, iova: BASE + PAGE, length: PAGE })).toEqual("EINVAL");
  });

  test("are found in the second word and across mappings that follow each other", () => {
    expect(program.mapIoas(fd, ioas, memory, PAGE * 8n, { iova: BASE + PAGES * PAGE })).toBe(BASE + PAGES * PAGE);
    track(true);
    edu.write(BASE + PAGES * PAGE - 1n, 2);
    expect(dirty({ length: (PAGES + 8n) * PAGE }, 2)).toEqual([1n << 63n, 1n]);
  });

  test("are no longer looked for after a stop, and forgotten at a start", () => {
    track(true);
    edu.write(BASE, 1);
    expect(track(false)).toBe(0);
    edu.write(BASE + PAGE, 1);
    expect(dirty({ flags: NO_CLEAR })).toEqual([1n]);
    // also a start while it is on
    for (const _ of [1, 2]) {
      track(true);
      expect(dirty({ flags: NO_CLEAR })).toEqual([0n]);
      edu.write(BASE, 1);
    }
  });

  test("go with their mapping", () => {
    track(true);
    edu.write(BASE, 1);
    program.unmapIoas(fd, ioas, BASE, PAGES * PAGE);
    program.mapIoas(fd, ioas, memory, PAGES * PAGE, { iova: BASE });
    expect(dirty()).toEqual([0n]);
  });

  test("are each page table's own", () => {
    const other = program.hwpt(fd, device, ioas, DIRTY);
    track(true);
    track(true, other);
    edu.write(BASE, 1);
    expect(dirty({ hwpt_id: Number(other) })).toEqual([0n]);
    expect(dirty()).toEqual([1n]);
  });

  test("are not told of a write that faulted", () => {
    program.mapIoas(fd, ioas, memory, PAGE, { iova: BASE + PAGES * PAGE, access: 4 });
    track(true);
    edu.write(BASE + PAGES * PAGE, 8);
    expect(dirty({ length: (PAGES + 1n) * PAGE }, 2)).toEqual([0n, 0n]);
  });
});

describe("what a kernel answers with 0 although bits are missing", () => {
  test("a gap in the mappings ends the report", () => {
    program.mapIoas(fd, ioas, memory, PAGE, { iova: BASE + (PAGES + 1n) * PAGE });
    track(true);
    edu.write(BASE, 1);
    edu.write(BASE + (PAGES + 1n) * PAGE, 1);
    expect(dirty({ length: (PAGES + 2n) * PAGE }, 2)).toEqual([1n, 0n]);
    expect(warnings.join()).toContain("ends at 0x140000, where nothing is mapped; the kernel tells no error");
  });

  test("a bitmap that cannot be written", () => {
    track(true);
    edu.write(BASE, 1);
    expect(dirty({ data: 0x10n })).toEqual([0n]);
    expect(warnings.join()).toContain("the bitmap at 0x10 cannot be written; bits are lost");
    expect(dirty()).toEqual([0n]);
  });

  test("not so before 6.11, when it was pinned first", () => {
    start({ ...lab, kernel: "6.10" });
    track(true);
    edu.write(BASE, 1);
    expect(dirty({ data: 0x10n })).toBe("ENOMEM");
    expect(dirty({ data: LAST })).toBe("ENOMEM");
    expect(dirty()).toEqual([1n]);
  });

  test("before the generic page tables: what was noted before a stop", () => {
    start({ ...lab, kernel: "6.12" });
    track(true);
    edu.write(BASE, 1);
    track(false);
    expect(dirty()).toEqual([0n]);
    expect(warnings.join()).toContain("reports nothing: dirty tracking of hwpt 3 is off");
  });
});

describe("errors of IOMMU_HWPT_GET_DIRTY_BITMAP", () => {
  test.each<[string, Query, string]>([
    ["an unknown flag", { flags: 2 }, "EOPNOTSUPP"],
    ["a reserved field", { __reserved: 1 }, "EOPNOTSUPP"],
    ["no such page table", { hwpt_id: 99 }, "ENOENT"],
    ["an address space", { hwpt_id: 2 }, "ENOENT"],
    ["a range past the end", { iova: LAST - PAGE + 1n, length: 2n * PAGE }, "EOVERFLOW"],
    ["nothing, from above 0", { length: 0n }, "EOVERFLOW"],
    ["an iova within a page", { iova: BASE + 1n }, "EINVAL"],
    ["a length of part pages", { length: 100n }, "EINVAL"],
    ["flags before the page table", { flags: 2, hwpt_id: 99 }, "EOPNOTSUPP"],
    ["a page_size of 0", { page_size: 0n }, "EINVAL"],
    [
      "a page_size that the range is no multiple of",
      { iova: BASE + PAGE, length: PAGE, page_size: 2n * PAGE },
      "EINVAL",
    ],
  ])("%s", (_what, query, errno) => {
    expect(dirty(query)).toBe(errno);
  });

  test("a page table that was not made for it", () => {
    const plain = program.hwpt(fd, device, ioas);
    expect(dirty({ hwpt_id: Number(plain) })).toBe("EOPNOTSUPP");
    // the range is looked at first
    expect(dirty({ hwpt_id: Number(plain), page_size: 0n })).toBe("EINVAL");
  });
});

test("errors of IOMMU_HWPT_SET_DIRTY_TRACKING", () => {
  expect(track(true, 99, 2)).toBe("EOPNOTSUPP");
  expect(track(true, hwpt, 2)).toBe("EOPNOTSUPP");
  expect(track(true, 99)).toBe("ENOENT");
  expect(track(true, ioas)).toBe("ENOENT");
  expect(track(true, program.hwpt(fd, device, ioas))).toBe("EOPNOTSUPP");
});

describe("an IOMMU without it", () => {
  const [first, ...rest] = lab.groups.filter(({ devices }) => devices.some(({ bus }) => bus === "pci"));
  /** `lab` where the first engine is behind an IOMMU without dirty tracking. */
  const mixed: HostDescription = {
    ...lab,
    groups: [first!, ...rest.map((group, i): GroupDescription => (i === 0 ? { ...group, iommu: plain() } : group))],
  };
  function plain(): HostDescription["iommu"] {
    return { ...lab.iommu, dirtyTracking: false };
  }

  test("cannot use a page table that was made for it", () => {
    start(mixed);
    const engine = program.open(ENGINE);
    const id = program.bind(engine, fd);
    expect(program.attach(engine, hwpt)).toBe("EINVAL");
    expect(program.reason).toContain("has no dirty tracking, which hwpt 3 was made for");
    expect(program.hwpt(fd, id, ioas, DIRTY)).toBe("EOPNOTSUPP");
    // the other way round is fine
    const own = program.hwpt(fd, id, ioas);
    expect(program.attach(engine, own)).toBe(own);
  });
});

describe("other IOMMUs that have it", () => {
  const amd = readyMadeHost("amd")!.iommu;

  test("AMD-Vi with HDSup", () => {
    start({ ...lab, iommu: { ...amd, dirtyTracking: true } });
    track(true);
    edu.write(BASE + PAGE, 1);
    expect(dirty()).toEqual([2n]);
    // its tables for PASIDs have none
    expect(program.hwpt(fd, device, ioas, DIRTY | PASID)).toBe("EOPNOTSUPP");
  });

  test("VT-d with both stages: its second-stage tables, and the parents of nested ones", () => {
    const { iommu } = readyMadeHost("lab-nesting")!;
    start({ ...lab, iommu: { ...iommu, dirtyTracking: true } });
    track(true);
    edu.write(BASE + PAGE, 1);
    expect(dirty()).toEqual([2n]);
    // second-stage tables have all of the address bits
    expect(program.mapIoas(fd, ioas, memory, PAGE, { iova: 2n ** 47n })).toBe(2n ** 47n);
    expect(program.hwpt(fd, device, ioas, DIRTY | NEST_PARENT | PASID)).toBeTypeOf("number");
  });

  test("no others", () => {
    const { dirtyTracking: _, ...iommu } = readyMadeHost("lab-nesting")!.iommu;
    for (const unit of [amd, iommu, readyMadeHost("virtio")!.iommu]) {
      const other = new IommufdProgram({ ...lab, iommu: { ...unit, interruptRemapping: true } });
      const iommufd = other.iommufd();
      const id = other.bind(other.open(EDU), iommufd);
      expect(other.hwpt(iommufd, id, other.ioas(iommufd), DIRTY)).toBe("EOPNOTSUPP");
    }
  });
});

test("a release without it knows neither the flag nor the requests", () => {
  program = new IommufdProgram({ ...lab, kernel: "6.6" });
  fd = program.iommufd();
  device = program.bind(program.open(EDU), fd);
  ioas = program.ioas(fd);
  expect(program.hwpt(fd, device, ioas, DIRTY)).toBe("EOPNOTSUPP");
  expect(program.reason).toContain("unknown flag bits 0x2 (known: 0x0)");
  expect([track(true, 3), dirty({ hwpt_id: 3 })]).toEqual(["ENOTTY", "ENOTTY"]);
});

test("a device of VFIO's that cannot be migrated logs no writes itself", () => {
  const engineFile = program.open(ENGINE);
  program.bind(engineFile, fd);
  for (const feature of [6, 7, 8]) {
    const bytes = new Uint8Array(64);
    new DataView(bytes.buffer).setUint32(0, 64, true);
    new DataView(bytes.buffer).setUint32(4, feature | (feature === 8 ? 1 << 16 : 1 << 17), true);
    expect(program.ioctlBytes(engineFile, VFIO_DEVICE_FEATURE, bytes)).toBe("ENOTTY");
  }
});
