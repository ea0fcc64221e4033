import { describe, expect, test } from "vitest";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { IOMMU_GET_HW_INFO, IommuHwInfo } from "../../src/uapi/iommufd-hwpt.ts";
import { IOMMU_FAULT_QUEUE_ALLOC, IommuFaultAlloc } from "../../src/uapi/iommufd-viommu.ts";
import { HOST, IommufdProgram } from "./iommufd-program.ts";

const DEVICE = "/dev/vfio/devices/vfio0";

/** HOST with another IOMMU. */
function hostWith(model: string, changes: Partial<HostDescription["iommu"]> = {}): HostDescription {
  const { iommu } =
    model === "amd-vi" ? readyMadeHost("amd")! : model === "virtio-iommu" ? readyMadeHost("virtio")! : HOST;
  return { ...HOST, iommu: { ...iommu, model, interruptRemapping: true, ...changes } };
}

/** The reply to GET_HW_INFO and the bytes that it wrote. */
function hwInfo(host: HostDescription, room = 32) {
  const program = new IommufdProgram(host);
  const fd = program.iommufd();
  const dev_id = Number(program.bind(program.open(DEVICE), fd));
  const data = program.memory(4096);
  program.task.memory.copyOut(data, new Uint8Array(64).fill(0xee), 64);
  const bytes = IommuHwInfo.encode({ size: IommuHwInfo.size, dev_id, data_len: room, data_uptr: BigInt(data) });
  const result = program.ioctlBytes(fd, IOMMU_GET_HW_INFO, bytes);
  const written = new Uint8Array(room + 8);
  program.task.memory.copyIn(data, written, written.length);
  return { result, info: IommuHwInfo.decode(bytes), data: Buffer.from(written).toString("hex") };
}

describe("what GET_HW_INFO says", () => {
  test("of VT-d follows from its address bits", () => {
    const narrow = hwInfo(hostWith("intel-vtd", { apertureLast: 2n ** 39n - 1n, cacheCoherent: false }));
    expect(narrow.info.out_data_type).toBe(1);
    expect(narrow.info.data_len).toBe(24);
    // recorded in fd_hw_info on intel39-k72fd
    expect(narrow.data).toBe("0100000000000000860226228c00d2004a0ff000000000000000000000000000eeeeeeeeeeeeeeee");
    const wide = hwInfo(hostWith("intel-vtd", { apertureLast: 2n ** 48n - 1n, cacheCoherent: true }));
    expect(wide.data.slice(16, 48)).toBe("86062f228c00d200ca0ff00000000000");
  });

  test("of VT-d with dirty tracking is scalable mode with second-stage tables", () => {
    const host = hostWith("intel-vtd", { apertureLast: 2n ** 39n - 1n, cacheCoherent: false, dirtyTracking: true });
    const { info, data } = hwInfo(host);
    expect(info.out_capabilities).toBe(9n);
    // SMTS, SLADS, SSTS, SMPWC: bits 43, 45, 46 and 48
    expect(data.slice(32, 48)).toBe("4a0ff00000680100");
    expect(hwInfo({ ...host, kernel: "6.12" }).info.out_capabilities).toBe(1n);
    expect(hwInfo({ ...host, kernel: "6.6" }).info.out_capabilities).toBe(0n);
  });

  test("of AMD-Vi with dirty tracking is HASup and HDSup", () => {
    const { info, data } = hwInfo(hostWith("amd-vi", { dirtyTracking: true }));
    expect([info.out_capabilities, data.slice(0, 16)]).toEqual([9n, "d329000000001200"]);
  });

  test("of AMD-Vi are its feature registers", () => {
    const { info, data } = hwInfo(hostWith("amd-vi"));
    expect([info.out_data_type, info.data_len, info.out_capabilities]).toEqual([4, 16, 8n]);
    expect(data).toBe(`${"d329000000000000"}${"00".repeat(24)}${"ee".repeat(8)}`);
  });

  test("of virtio-iommu is nothing", () => {
    const { result, info, data } = hwInfo(hostWith("virtio-iommu"));
    expect([result, info.out_data_type, info.data_len]).toEqual([0, 0, 0]);
    expect(data).toBe("00".repeat(32) + "ee".repeat(8));
  });
});

describe("page tables of a program's own", () => {
  const NEST_PARENT = 1;
  const DIRTY = 2;
  const FAULT = 4;
  const PASID = 8;

  test.each([
    ["intel-vtd", { [NEST_PARENT]: "EOPNOTSUPP", [DIRTY]: "EOPNOTSUPP", [FAULT]: "ENOENT", [PASID]: 3 }],
    ["amd-vi", { [NEST_PARENT]: "EOPNOTSUPP", [DIRTY]: "EOPNOTSUPP", [FAULT]: "ENOENT", [PASID]: "EOPNOTSUPP" }],
    [
      "virtio-iommu",
      { [NEST_PARENT]: "EOPNOTSUPP", [DIRTY]: "EOPNOTSUPP", [FAULT]: "EOPNOTSUPP", [PASID]: "EOPNOTSUPP" },
    ],
  ] as const)("on %s", (model, answers) => {
    for (const [flags, answer] of Object.entries(answers)) {
      const program = new IommufdProgram(hostWith(model));
      const fd = program.iommufd();
      const device = program.bind(program.open(DEVICE), fd);
      expect([flags, program.hwpt(fd, device, program.ioas(fd), Number(flags))]).toEqual([flags, answer]);
    }
  });

  test("keep the fault queue that they report to", () => {
    const program = new IommufdProgram();
    const fd = program.iommufd();
    const bytes = IommuFaultAlloc.encode({ size: IommuFaultAlloc.size });
    expect(program.ioctlBytes(fd, IOMMU_FAULT_QUEUE_ALLOC, bytes)).toBe(0);
    const { out_fault_id, out_fault_fd } = IommuFaultAlloc.decode(bytes);
    expect(program.destroy(fd, out_fault_id)).toBe("EBUSY");
    expect(program.attempt(() => program.task.files.get(out_fault_fd)!.read(program.task, 0, 40, 0))).toBe(0);
    expect(program.attempt(() => program.task.files.get(out_fault_fd)!.read(program.task, 0, 39, 0))).toBe("ESPIPE");
    program.close(out_fault_fd);
    expect(program.destroy(fd, out_fault_id)).toBe(0);
  });
});

test("a device whose interrupts are not isolated takes a parameter", () => {
  const host = hostWith("virtio-iommu", { interruptRemapping: false });
  const program = new IommufdProgram(host);
  const device = program.open(DEVICE);
  const fd = program.iommufd();
  expect(program.bind(device, fd)).toBe("EPERM");
  expect(program.reason).toContain("iommufd.allow_unsafe_interrupts=1");
  program.host.parameters.write("iommufd/allow_unsafe_interrupts", "1");
  expect(program.bind(device, fd)).toBe(1);
});
