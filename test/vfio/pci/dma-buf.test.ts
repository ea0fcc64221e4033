import { beforeEach, describe, expect, test } from "vitest";
import { DmaBufFile } from "../../../src/kernel/dma-buf.ts";
import { PROT_READ, PROT_WRITE } from "../../../src/kernel/model-areas.ts";
import type { HostDescription } from "../../../src/machine/host-description.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import * as iommufd from "../../../src/uapi/iommufd.ts";
import { VFIO_DEVICE_RESET } from "../../../src/uapi/vfio-device.ts";
import * as feature from "../../../src/uapi/vfio-feature.ts";
import { EduDevice } from "../../iommufd/edu-device.ts";
import { IommufdProgram } from "../../iommufd/iommufd-program.ts";
import type { Result } from "../program.ts";

const HOST = readyMadeHost("lab-nesting")!;
const PAGE = 4096n;
const END = 2n ** 64n;
/** Where the tests map the BAR, and memory. */
const [BAR_IOVA, MEMORY_IOVA] = [0x10_0000n, 0x20_0000n];
/** edu's BAR: what is written there reads as its complement. */
const LIVENESS = 4;
const BAR_SIZE = 2n ** 20n;
const CONFIG = 7 * 2 ** 40;
const COMMAND = CONFIG + 4;
const [READ, WRITE] = [iommufd.IOMMU_IOAS_MAP_READABLE, iommufd.IOMMU_IOAS_MAP_WRITEABLE];

interface Range {
  readonly offset: bigint;
  readonly length: bigint;
}

interface Wanted {
  readonly ranges?: readonly Range[];
  readonly region_index?: number;
  readonly open_flags?: number;
  readonly flags?: number;
  readonly nr_ranges?: number;
  readonly request?: number;
  readonly argsz?: number;
}

/** Two devices of one program: one does DMA, the other's BAR is reached by it. */
class Pair extends IommufdProgram {
  readonly iommu = this.iommufd();
  readonly space = this.ioas(this.iommu);
  readonly actor = this.open("/dev/vfio/devices/vfio0");
  readonly target = this.open("/dev/vfio/devices/vfio1");
  readonly memoryAt = this.memory(4096);

  constructor(host: HostDescription = { ...HOST, kernel: "7.2" }) {
    super(host);
    for (const device of [this.actor, this.target]) this.bind(device, this.iommu);
    this.put(this.target, COMMAND, 2n, 2);
  }

  /** VFIO_DEVICE_FEATURE_DMA_BUF of the target. */
  dmaBuf({ ranges = [{ offset: 0n, length: PAGE }], request, argsz, ...fields }: Wanted = {}): Result {
    const head = feature.VfioDeviceFeature.encode({
      argsz: argsz ?? 24 + 16 * ranges.length,
      flags: request ?? feature.VFIO_DEVICE_FEATURE_GET | feature.VFIO_DEVICE_FEATURE_DMA_BUF,
    });
    const body = feature.VfioDeviceFeatureDmaBuf.encode({ nr_ranges: ranges.length, ...fields });
    const tail = ranges.map((range) => feature.VfioRegionDmaRange.encode(range));
    return this.ioctlBytes(
      this.target,
      feature.VFIO_DEVICE_FEATURE,
      Buffer.concat([head.subarray(0, 8), body.subarray(0, 16), ...tail]),
    );
  }

  /** IOMMU_IOAS_MAP_FILE. */
  mapFile(fd: Result, length = PAGE, start = 0n, flags = READ | WRITE): Result {
    const layout = iommufd.IommuIoasMapFile;
    return this.ioctlBytes(
      this.iommu,
      iommufd.IOMMU_IOAS_MAP_FILE,
      layout.encode({
        size: layout.size,
        flags: flags | iommufd.IOMMU_IOAS_MAP_FIXED_IOVA,
        ioas_id: Number(this.space),
        fd: Number(fd),
        start,
        length,
        iova: BAR_IOVA,
      }),
    );
  }

  put(device: Result, offset: number, value: bigint, width: number): void {
    const at = this.memory(4096);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    this.task.memory.copyOut(at, bytes, width);
    this.task.files.get(Number(device))!.write(this.task, at, width, offset);
  }

  get liveness(): number {
    const at = this.memory(4096);
    this.task.files.get(Number(this.target))!.read(this.task, at, 4, LIVENESS);
    return this.word(at);
  }

  word(address: number, value?: number): number {
    const bytes = new Uint8Array(4);
    const view = new DataView(bytes.buffer);
    if (value !== undefined) {
      view.setUint32(0, value, true);
      this.task.memory.copyOut(address, bytes, 4);
    }
    this.task.memory.copyIn(address, bytes, 4);
    return view.getUint32(0, true);
  }

  /** The actor, with the BAR and memory mapped. */
  actorOn(fd: Result): EduDevice {
    expect(this.mapFile(fd)).toBe(0);
    expect(this.mapIoas(this.iommu, this.space, this.memoryAt, PAGE, { iova: MEMORY_IOVA })).toBe(MEMORY_IOVA);
    expect(this.attach(this.actor, this.space)).toBeTypeOf("number");
    return new EduDevice(this, this.actor);
  }

  /** What the actor reads from the target's register. */
  peek(actor: EduDevice): number {
    this.word(this.memoryAt, 0xdead_beef);
    actor.read(BAR_IOVA + BigInt(LIVENESS), 4);
    actor.write(MEMORY_IOVA, 4);
    return this.word(this.memoryAt);
  }

  /** The actor writes to it. */
  poke(actor: EduDevice, value: number): void {
    this.word(this.memoryAt, value);
    actor.read(MEMORY_IOVA, 4);
    actor.write(BAR_IOVA + BigInt(LIVENESS), 4);
  }
}

let pair: Pair;

beforeEach(() => {
  pair = new Pair();
});

describe("a BAR as a dma-buf", () => {
  test("is there from 6.19 on, where vfio-pci was built with it", () => {
    const ask = (host: HostDescription) => new Pair(host).dmaBuf();
    expect(ask({ ...HOST, kernel: "6.18" })).toBe("ENOTTY");
    expect(ask({ ...HOST, kernel: "6.19" })).toBeTypeOf("number");
    expect(ask({ ...HOST, kernel: "7.2", modules: { ...HOST.modules, vfioPci: { dmaBuf: false } } })).toBe("ENOTTY");
    // as recorded on the kernels with iommufd
    const { vfioPci: _, ...modules } = HOST.modules;
    expect(ask({ ...HOST, kernel: "7.2", modules })).toBe("ENOTTY");
  });

  test("is reached by another device's DMA", () => {
    const actor = pair.actorOn(pair.dmaBuf());
    pair.poke(actor, 0x1234_5678);
    expect(pair.liveness).toBe(~0x1234_5678 >>> 0);
    expect(pair.peek(actor)).toBe(~0x1234_5678 >>> 0);
  });

  test("begins where its range does", () => {
    const fd = pair.dmaBuf({ ranges: [{ offset: PAGE, length: 2n * PAGE }] });
    const actor = pair.actorOn(fd);
    pair.poke(actor, 0x1234_5678);
    expect(pair.liveness).toBe(0);
  });

  test("is a descriptor that closes on exec if that is asked for, and that no program maps", () => {
    const files = pair.task.files;
    const fd = Number(pair.dmaBuf({ open_flags: 0o2000002 }));
    expect(files.get(fd)).toBeInstanceOf(DmaBufFile);
    const request = { offset: 0, length: 4096, shared: true } as never;
    expect(() => files.get(fd)!.mmap(pair.task, request)).toThrow("lets no program map it");
  });

  test("is only asked for rightly", () => {
    const { VFIO_DEVICE_FEATURE_DMA_BUF: DMA_BUF } = feature;
    expect(pair.dmaBuf({ request: feature.VFIO_DEVICE_FEATURE_SET | DMA_BUF })).toBe("EINVAL");
    expect(pair.dmaBuf({ request: DMA_BUF })).toBe("EINVAL");
    expect(pair.dmaBuf({ request: feature.VFIO_DEVICE_FEATURE_PROBE | DMA_BUF })).toBe(0);
    expect(pair.dmaBuf({ argsz: 20 })).toBe("EINVAL");
    expect(pair.dmaBuf({ ranges: [] })).toBe("EINVAL");
    expect(pair.dmaBuf({ flags: 1 })).toBe("EINVAL");
    for (const region_index of [6, 7, 2 ** 32 - 1]) expect(pair.dmaBuf({ region_index })).toBe("ENODEV");
    // no such BAR
    expect(pair.dmaBuf({ region_index: 1 })).toBe("ENODEV");
    expect(new Pair({ ...HOST, kernel: "6.19" }).dmaBuf({ region_index: 1 })).toBe("EINVAL");
    expect(pair.dmaBuf({ nr_ranges: 2 ** 18 + 1 })).toBe("ENOMEM");
    expect(pair.dmaBuf({ nr_ranges: 2 ** 18 })).toBe("EFAULT");
  });

  test.each<[string, readonly Range[], string]>([
    ["nothing", [{ offset: 0n, length: 0n }], "EINVAL"],
    ["half a page", [{ offset: 0n, length: PAGE / 2n }], "EINVAL"],
    ["from within a page", [{ offset: PAGE / 2n, length: PAGE }], "EINVAL"],
    ["more than there is", [{ offset: BAR_SIZE, length: PAGE }], "EINVAL"],
    [
      "a wrong one behind a right one",
      [
        { offset: 0n, length: PAGE },
        { offset: 1n, length: PAGE },
      ],
      "EINVAL",
    ],
    ["past 2^64", [{ offset: END - PAGE, length: PAGE }], "EOVERFLOW"],
    ["past 2^64 with the BAR's address", [{ offset: END - 2n * PAGE, length: PAGE }], "EOVERFLOW"],
    ["2^63 bytes", [{ offset: 0n, length: END / 2n }], "EINVAL"],
    [
      "2^64 bytes together",
      [
        { offset: 0n, length: END - PAGE },
        { offset: 0n, length: PAGE },
      ],
      "EINVAL",
    ],
  ])("has no range of %s", (_, ranges, errno) => {
    expect(pair.dmaBuf({ ranges })).toBe(errno);
  });

  test("of several ranges is none that an iommufd maps", () => {
    const fd = pair.dmaBuf({
      ranges: [
        { offset: 0n, length: PAGE },
        { offset: PAGE, length: PAGE },
      ],
    });
    expect(fd).toBeTypeOf("number");
    expect(pair.mapFile(fd)).toBe("EOPNOTSUPP");
  });

  test("is mapped as far as it goes", () => {
    const fd = pair.dmaBuf();
    expect(pair.mapFile(fd, 2n * PAGE)).toBe("EINVAL");
    expect(pair.mapFile(fd, PAGE, PAGE)).toBe("EINVAL");
    expect(pair.mapFile(fd, PAGE, 0n, READ)).toBe(0);
    expect(pair.attach(pair.actor, pair.space)).toBeTypeOf("number");
    const actor = new EduDevice(pair, pair.actor);
    actor.write(BAR_IOVA + BigInt(LIVENESS), 4);
    expect(pair.liveness).toBe(0);
  });

  test("is the only way: the program's mapping of the BAR is refused by IOAS_MAP", () => {
    const file = pair.task.files.get(Number(pair.target))!;
    const { object } = file.mappedObject!({ offset: 0, length: 4096, shared: true } as never)!;
    const at = pair.task.memory.mmap({ length: 4096, protection: PROT_READ | PROT_WRITE, shared: true, object });
    pair.attach(pair.actor, pair.space);
    expect(pair.mapIoas(pair.iommu, pair.space, at, PAGE, { iova: BAR_IOVA })).toBe("EFAULT");
  });
});

describe("a dma-buf is taken back", () => {
  const off: readonly [string, (pair: Pair) => void, ((pair: Pair) => void)?][] = [
    ["when the device is reset", ({ target, ioctl }) => ioctl.call(pair, target, VFIO_DEVICE_RESET)],
    [
      "when its memory is switched off",
      ({ target, put }) => put.call(pair, target, COMMAND, 0n, 2),
      ({ target, put }) => put.call(pair, target, COMMAND, 2n, 2),
    ],
    [
      "when it sleeps",
      (each) => lowPower(each, feature.VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY),
      (each) => lowPower(each, feature.VFIO_DEVICE_FEATURE_LOW_POWER_EXIT),
    ],
  ];

  function lowPower(each: Pair, which: number): void {
    const bytes = feature.VfioDeviceFeature.encode({ argsz: 8, flags: feature.VFIO_DEVICE_FEATURE_SET | which });
    expect(each.ioctlBytes(each.target, feature.VFIO_DEVICE_FEATURE, bytes.subarray(0, 8))).toBe(0);
  }

  test.each(off)("%s: a mapping of it leads nowhere from then on, a new one does", (_, takeBack, giveAgain) => {
    const fd = pair.dmaBuf();
    const actor = pair.actorOn(fd);
    pair.poke(actor, 1);
    expect(pair.peek(actor)).toBe(~1 >>> 0);
    takeBack(pair);
    if (giveAgain) {
      expect(pair.peek(actor)).toBe(0);
      expect(pair.unmapIoas(pair.iommu, pair.space, BAR_IOVA, PAGE)).toBe(PAGE);
      expect(pair.mapFile(fd)).toBe("ENODEV");
      giveAgain(pair);
      expect(pair.mapFile(fd)).toBe(0);
    } else {
      expect(pair.peek(actor)).toBe(0);
      // also a reset register reads as 0: what is written does not arrive
      pair.poke(actor, 5);
      expect(pair.liveness).toBe(0);
      expect(pair.unmapIoas(pair.iommu, pair.space, BAR_IOVA, PAGE)).toBe(PAGE);
      expect(pair.mapFile(fd)).toBe(0);
    }
    pair.poke(actor, 2);
    expect(pair.peek(actor)).toBe(~2 >>> 0);
  });

  test("for good when the device is closed", () => {
    const fd = pair.dmaBuf();
    const actor = pair.actorOn(fd);
    pair.poke(actor, 1);
    pair.close(pair.target);
    expect(pair.peek(actor)).toBe(0);
    pair.unmapIoas(pair.iommu, pair.space, BAR_IOVA, PAGE);
    expect(pair.mapFile(fd)).toBe("ENODEV");
  });

  test("before it was ever used, where memory is off", () => {
    pair.put(pair.target, COMMAND, 0n, 2);
    const fd = pair.dmaBuf();
    expect(fd).toBeTypeOf("number");
    expect(pair.mapFile(fd)).toBe("ENODEV");
    pair.put(pair.target, COMMAND, 2n, 2);
    expect(pair.mapFile(fd)).toBe(0);
  });

  test("also when its descriptor is closed and a mapping is left", () => {
    const fd = pair.dmaBuf();
    const actor = pair.actorOn(fd);
    pair.close(fd);
    pair.poke(actor, 3);
    expect(pair.peek(actor)).toBe(~3 >>> 0);
    pair.put(pair.target, COMMAND, 0n, 2);
    expect(pair.peek(actor)).toBe(0);
  });
});
