import { describe, expect, test } from "vitest";
import { EventFile } from "../../src/kernel/model-event.ts";
import type { GroupDescription, HostDescription } from "../../src/machine/host-description.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { toYaml } from "../../src/machine/write-host.ts";
import * as hwpt from "../../src/uapi/iommufd-hwpt.ts";
import * as viommu from "../../src/uapi/iommufd-viommu.ts";
import { VFIO_DEVICE_SET_IRQS, VfioIrqSet } from "../../src/uapi/vfio-device.ts";
import type { Result } from "../vfio/program.ts";
import { GPA, NEST_PARENT, NestingLab, PASID_FLAG, page } from "./nesting-lab.ts";

const HOST: HostDescription = readyMadeHost("arm-nesting")!;
const [WITH_PASIDS, EDU] = ["/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1"] as const;
const PAGE = 4096;
const DIRTY = 2;
const WINDOW = 0x800_0000n;

/** Of a page: valid, for all requests, accessed, of one address space. */
const LEAF = 0xc43n;
/** 4K pages, 25 bits, the lower range alone, address-space id 1, recorded faults. */
const CONTEXT = 39n | (1n << 30n) | (1n << 31n) | (4n << 32n) | (1n << 41n) | (1n << 45n) | (1n << 46n) | (1n << 48n);
const STAGE_1 = 0b1011n;
const BYPASS = 0b1001n;

/**
 * A guest's memory as NestingLab has it, with tables of the SMMU's format in it: page 1 is a context descriptor, page 2
 * its table of level 2, page 3 one of level 3.
 */
class SmmuProgram extends NestingLab {
  readonly warnings: string[];
  readonly #scratch: number;

  constructor(host: HostDescription = HOST) {
    const warnings: string[] = [];
    super(host, (message) => warnings.push(message));
    this.warnings = warnings;
    this.#scratch = this.memory(PAGE);
    // requests without stage 1 reach the last page by its address
    this.back = page(15);
    for (let offset = 0; offset < 3 * PAGE; offset += 8) this.poke(this.guest + PAGE + offset, 0n);
    this.poke(this.guest + PAGE, CONTEXT);
    this.poke(this.guest + PAGE + 8, page(2));
    this.poke(this.guest + 2 * PAGE, page(3) | 3n);
    this.lead(0, 4);
  }

  /** A page of the guest's virtual addresses leads to a page of its memory; undefined: nowhere. */
  lead(from: number, to: number | undefined, flags = LEAF): void {
    this.poke(this.guest + 3 * PAGE + from * 8, to === undefined ? 0n : page(to) | flags);
  }

  virtualSmmu(device: Result, parent: Result, type = viommu.IOMMU_VIOMMU_TYPE_ARM_SMMUV3): Result {
    const layout = viommu.IommuViommuAlloc;
    const bytes = layout.encode({ size: layout.size, type, dev_id: Number(device), hwpt_id: Number(parent) });
    const result = this.ioctlBytes(this.iommu, viommu.IOMMU_VIOMMU_ALLOC, bytes);
    return result === 0 ? layout.decode(bytes).out_viommu_id : result;
  }

  number(device: Result, smmu: Result, virt_id: bigint): Result {
    const layout = viommu.IommuVdeviceAlloc;
    const bytes = layout.encode({ size: layout.size, viommu_id: Number(smmu), dev_id: Number(device), virt_id });
    const result = this.ioctlBytes(this.iommu, viommu.IOMMU_VDEVICE_ALLOC, bytes);
    return result === 0 ? layout.decode(bytes).out_vdevice_id : result;
  }

  entry(device: Result, smmu: Result, first: bigint, second = 0n): Result {
    const data = hwpt.IommuHwptArmSmmuv3.encode({ ste: [first, second] });
    this.task.memory.copyOut(this.#scratch, data, data.length);
    const bytes = hwpt.IommuHwptAlloc.encode({
      size: hwpt.IommuHwptAlloc.size,
      dev_id: Number(device),
      pt_id: Number(smmu),
      data_type: hwpt.IOMMU_HWPT_DATA_ARM_SMMUV3,
      data_len: data.length,
      data_uptr: BigInt(this.#scratch),
    });
    const result = this.ioctlBytes(this.iommu, hwpt.IOMMU_HWPT_ALLOC, bytes);
    return result === 0 ? hwpt.IommuHwptAlloc.decode(bytes).out_hwpt_id : result;
  }

  /** How many commands the kernel says were done, and the result. */
  commands(
    smmu: Result,
    ...list: readonly (readonly [bigint, bigint])[]
  ): { readonly done: number; readonly result: Result } {
    const layout = hwpt.IommuViommuArmSmmuv3Invalidate;
    const at = this.memory(Math.max(PAGE, list.length * layout.size));
    for (const [index, cmd] of list.entries())
      this.task.memory.copyOut(at + index * layout.size, layout.encode({ cmd: [...cmd] }), layout.size);
    const bytes = hwpt.IommuHwptInvalidate.encode({
      size: hwpt.IommuHwptInvalidate.size,
      hwpt_id: Number(smmu),
      data_uptr: BigInt(at),
      data_type: hwpt.IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
      entry_len: layout.size,
      entry_num: list.length,
    });
    const result = this.ioctlBytes(this.iommu, hwpt.IOMMU_HWPT_INVALIDATE, bytes);
    return { done: hwpt.IommuHwptInvalidate.decode(bytes).entry_num, result };
  }

  /** Sets up MSI with one eventfd, or says why not. */
  setInterrupt(fd: Result): { readonly result: Result; readonly event: EventFile } {
    const event = new EventFile();
    const number = this.task.files.install(event, false);
    const bytes = new Uint8Array(VfioIrqSet.size + 4);
    bytes.set(VfioIrqSet.encode({ argsz: bytes.length, flags: 0x24, index: 1, start: 0, count: 1 }));
    new DataView(bytes.buffer).setInt32(bytes.length - 4, number, true);
    return { result: this.ioctlBytes(fd, VFIO_DEVICE_SET_IRQS, bytes), event };
  }

  /** Whether an edu's interrupt arrives. */
  interrupts(fd: Result, event: EventFile): boolean {
    this.put(fd, 0x60, 1n, 4);
    this.put(fd, 0x64, 1n, 4);
    return this.attempt(() => Number(event.take())) === 1;
  }

  hwInfo(device: Result): { readonly capabilities: bigint; readonly pasidBits: number } {
    const layout = hwpt.IommuHwInfoV617;
    const bytes = layout.encode({
      size: layout.size,
      dev_id: Number(device),
      data_uptr: BigInt(this.#scratch),
      data_len: 40,
    });
    expect(this.ioctlBytes(this.iommu, hwpt.IOMMU_GET_HW_INFO, bytes)).toBe(0);
    const { out_capabilities: capabilities, out_max_pasid_log2: pasidBits } = layout.decode(bytes);
    return { capabilities, pasidBits };
  }
}

/** An edu with a number in a virtual SMMU, over a parent. */
function start(host = HOST, node: string = EDU) {
  const lab = new SmmuProgram(host);
  const { fd, id } = lab.device(node);
  const parent = lab.hwpt(lab.iommu, id, lab.space, NEST_PARENT);
  const smmu = lab.virtualSmmu(id, parent);
  expect(lab.number(id, smmu, 0x10n)).toBeTypeOf("number");
  /**
   * What the edu reads at an address of the guest's, shown by way of the parent, in one attachment of whatever holds
   * the VMID.
   */
  const read = (nested: Result, address: bigint) => {
    lab.attach(fd, nested);
    lab.transfer(fd, address, false);
    lab.attach(fd, parent);
    return lab.buffer(fd);
  };
  return { lab, fd, id, parent, smmu, read };
}

describe("a virtual SMMU", () => {
  test("translates by the guest's tables, and remembers", () => {
    const { lab, id, smmu, read } = start();
    const nested = lab.entry(id, smmu, page(1) | STAGE_1);
    expect(read(nested, 0n)).toBe(4n);
    lab.lead(0, 5);
    expect(read(nested, 0n)).toBe(4n);
    expect(lab.commands(smmu, [0x12n | (1n << 48n), 0n])).toEqual({ done: 1, result: 0 });
    expect(read(nested, 0n)).toBe(5n);
  });

  test("commands before a bad one count and are not carried out, which somebody is told", () => {
    const { lab, id, smmu, read } = start();
    const nested = lab.entry(id, smmu, page(1) | STAGE_1);
    expect(read(nested, 0n)).toBe(4n);
    lab.lead(0, 5);
    expect(lab.commands(smmu, [0x10n, 0n], [0xffn, 0n])).toEqual({ done: 1, result: "EIO" });
    expect(lab.warnings.join()).toMatch(/HWPT_INVALIDATE: the command before a bad one/);
    expect(read(nested, 0n)).toBe(4n);
    const batch = Array.from({ length: 63 }, () => [0x10n, 0n] as const);
    const warned = lab.warnings.length;
    expect(lab.commands(smmu, ...batch, [0xffn, 0n])).toEqual({ done: 63, result: "EIO" });
    expect(lab.warnings.length).toBe(warned);
    expect(read(nested, 0n)).toBe(5n);
  });

  test("is there with CANWBS or S2FWB only, and nests with both stages only", () => {
    const change = (smmu: Partial<NonNullable<HostDescription["iommu"]["smmu"]>>) => {
      const registers = { ...HOST.iommu.smmu!, ...smmu };
      return parseHost(toYaml({ ...HOST, iommu: { ...HOST.iommu, smmu: registers } }), "changed.yaml");
    };
    const attempt = (host: HostDescription) => {
      const lab = new SmmuProgram(host);
      const { id } = lab.device(EDU);
      const parent = lab.hwpt(lab.iommu, id, lab.space, NEST_PARENT);
      return [typeof parent, lab.virtualSmmu(id, parent)];
    };
    expect(attempt(change({ coherentWriteBack: false }))).toEqual(["number", "EOPNOTSUPP"]);
    const forced = change({ coherentWriteBack: false, idr: HOST.iommu.smmu!.idr.with(3, 0x1514) });
    expect(attempt(forced)[1]).toBeTypeOf("number");
    const yaml = toYaml(HOST).replace("  nesting: true\n", "");
    const single = parseHost(yaml.replace("0xd4c109b", "0xd4c109a"), "single.yaml");
    expect(single.iommu.nesting).toBeUndefined();
    expect(attempt(single)).toEqual(["string", "EOPNOTSUPP"]);
    const second = parseHost(
      yaml.replace("0xd4c109b", "0xd4c1099").replace(/ {2}aperture_end: .*\n/, ""),
      "second.yaml",
    );
    expect(second.iommu.apertureLast).toBe(2n ** 44n - 1n);
    const lab = new SmmuProgram(second);
    expect(lab.hwpt(lab.iommu, lab.device(EDU).id, lab.space, PASID_FLAG)).toBe("EOPNOTSUPP");
  });

  test("substreams go by the guest's descriptors", () => {
    const { lab, fd, id, parent, smmu } = start(HOST, WITH_PASIDS);
    // two descriptors: the second has a table of its own in pages 5 and 6
    lab.poke(lab.guest + PAGE + 64, CONTEXT + (1n << 48n));
    lab.poke(lab.guest + PAGE + 72, page(5));
    lab.poke(lab.guest + 5 * PAGE, page(6) | 3n);
    lab.poke(lab.guest + 6 * PAGE, page(9) | LEAF);
    // 2 of them, and requests without use the first
    const nested = lab.entry(id, smmu, page(1) | STAGE_1 | (1n << 59n), 2n);
    const word = (pasid: bigint) => {
      lab.attach(fd, nested);
      lab.transfer(fd, 0n, false, pasid);
      lab.attach(fd, parent);
      return lab.buffer(fd);
    };
    expect(word(0n)).toBe(4n);
    expect(word((1n << 31n) | 1n)).toBe(9n);
    expect(lab.hwInfo(id).pasidBits).toBe(20);
  });

  test("a parent is made with no other flag; dirty pages are stage 1's", () => {
    const { lab, fd, id } = start();
    for (const flags of [NEST_PARENT | DIRTY, NEST_PARENT | PASID_FLAG])
      expect(lab.hwpt(lab.iommu, id, lab.space, flags)).toBe("EOPNOTSUPP");
    expect(lab.hwInfo(id).capabilities & 1n).toBe(1n);
    const tracking = lab.hwpt(lab.iommu, id, lab.space, DIRTY);
    expect(lab.startTracking(tracking)).toBe(0);
    expect(lab.attach(fd, tracking)).toBe(tracking);
    lab.transfer(fd, page(7), true);
    expect(lab.dirtyPages(tracking)).toEqual([7]);
  });
});

describe("interrupts behind an SMMU", () => {
  test("are set up while the device is attached, and go through the guest's tables", () => {
    const { lab, fd, id, parent, smmu } = start();
    expect(lab.setInterrupt(fd).result).toBe("ENOSPC");
    expect(lab.reason).toContain("attached to no page table");
    const bypass = lab.entry(id, smmu, BYPASS);
    lab.attach(fd, bypass);
    const { result, event } = lab.setInterrupt(fd);
    expect(result).toBe(0);
    expect(lab.interrupts(fd, event)).toBe(true);
    const nested = lab.entry(id, smmu, page(1) | STAGE_1);
    lab.attach(fd, nested);
    // 25 bits do not even reach the window
    expect(lab.interrupts(fd, event)).toBe(false);
    lab.attach(fd, parent);
    expect(lab.interrupts(fd, event)).toBe(true);
    expect(lab.detach(fd)).toBe(0);
    expect(lab.interrupts(fd, event)).toBe(false);
    lab.attach(fd, lab.space);
    expect(lab.interrupts(fd, event)).toBe(true);
  });

  test("a failed replace takes the window away, as the kernel does; the doorbell's page stays taken", () => {
    const { lab, fd, id, parent } = start();
    const smmu = lab.virtualSmmu(id, parent);
    const nested = lab.entry(id, smmu, page(1) | STAGE_1);
    lab.attach(fd, parent);
    const map = (iova: bigint) => lab.mapIoas(lab.iommu, lab.space, lab.guest, 4096n, { iova });
    expect(map(WINDOW)).toBe("EINVAL");
    expect(lab.attach(fd, nested)).toBe("ENOENT");
    expect(lab.warnings.join()).toMatch(/a replace that failed has taken the reserved ranges of group 2/);
    expect(map(WINDOW + 4096n)).toBe(WINDOW + 4096n);
    expect(lab.setInterrupt(fd).result).toBe(0);
    expect(map(WINDOW)).toBe("EEXIST");
  });

  test("a mapping in the window's way keeps the doorbell from being mapped", () => {
    const { lab, fd, id, parent } = start();
    const smmu = lab.virtualSmmu(id, parent);
    lab.attach(fd, parent);
    expect(lab.attach(fd, lab.entry(id, smmu, page(1) | STAGE_1))).toBe("ENOENT");
    expect(lab.mapIoas(lab.iommu, lab.space, lab.guest, 4096n, { iova: WINDOW })).toBe(WINDOW);
    expect(lab.setInterrupt(fd).result).toBe("ENOSPC");
    expect(lab.reason).toContain("doorbell");
  });
});

describe("two SMMUs", () => {
  const second = (group: GroupDescription): GroupDescription =>
    group.id === 2 ? { ...group, iommu: { ...HOST.iommu, instance: 1 } } : group;
  const host = parseHost(toYaml({ ...HOST, groups: HOST.groups.map(second) }), "two.yaml");

  test("share no page table, no virtual SMMU and no number", () => {
    const lab = new SmmuProgram(host);
    const one = lab.device(WITH_PASIDS);
    const other = lab.device(EDU);
    const parent = lab.hwpt(lab.iommu, one.id, lab.space, NEST_PARENT);
    const smmu = lab.virtualSmmu(one.id, parent);
    expect(lab.virtualSmmu(other.id, parent)).toBe("EINVAL");
    expect(lab.number(other.id, smmu, 1n)).toBe("EINVAL");
    expect(lab.entry(other.id, smmu, 0n)).toBe("EINVAL");
    expect(lab.attach(other.fd, parent)).toBe("EINVAL");
    const plain = lab.hwpt(lab.iommu, one.id, lab.space);
    expect(lab.attach(other.fd, plain)).toBe("EINVAL");
    // an address space gets a page table for each
    const first = lab.attach(one.fd, lab.space);
    expect(lab.attach(other.fd, lab.space)).not.toBe(first);
  });
});

test("a proposal knows no SMMU that nests", () => {
  const yaml = toYaml(HOST).replace("api: mainline", "api: vsva-v1");
  expect(() => parseHost(yaml, "proposal.yaml")).toThrow(/api: vsva-v1 was proposed before arm-smmu-v3 could nest/);
});

test("a host that says only that it nests is the recorded machine", () => {
  const host = parseHost(
    `name: bare\nkernel: "7.2"\niommufd: true\niommu: { model: arm-smmu-v3, nesting: true }\ngroups: [{ id: 1, devices: [{ bdf: "0000:01:00.0", id: "1234:11e8" }] }]\n`,
    "bare.yaml",
  );
  expect(host.iommu).toMatchObject({ nesting: true, cacheCoherent: true, apertureLast: 2n ** 48n - 1n });
  expect(host.iommu.smmu?.idr).toEqual([0x0d44101b, 0x02730010, 0, 0x1414, 0, 0x74]);
  expect(host.iommu.dirtyTracking).toBeUndefined();
  expect(GPA).toBe(0x10_0000n);
});
