import { describe, expect, test } from "vitest";
import { EventFile } from "../../../src/kernel/model-event.ts";
import { VFIO_DEVICE_SET_IRQS, VfioIrqSet } from "../../../src/uapi/vfio-device.ts";
import type { Result } from "../program.ts";
import { HostFileProgram } from "./host-file-program.ts";

const REGION = 2 ** 40;
const file = (devices: readonly string[], more = "") => `
name: facts
kernel: "6.12"
iommu: { model: intel-vtd, address_bits: 48 }
${more}
groups:
${devices.map((device, id) => `  - { id: ${id}, devices: [ { ${device} } ] }`).join("\n")}
`;
const opened = (device: string, more = "") => {
  const program = new HostFileProgram(file([`bdf: 0000:03:00.0, ${device}`], more));
  const fd = program.deviceFd(program.container(0).group, "0000:03:00.0");
  if (typeof fd === "string") throw new Error(`${fd}: ${program.reason}`);
  return { program, fd };
};

describe("a BAR that another driver has reserved", () => {
  const { program, fd } = opened(
    'id: "1002:1586", class: 0x038000, bars: [ { index: 0, size: 0x10000, type: memory64, claimed_by: simpledrm }, { index: 5, size: 0x1000, type: memory } ]',
  );

  test("looks as if it could be mapped, and every access is EBUSY", () => {
    expect(program.region(fd, 0)).toEqual({ size: 0x1_0000n, flags: 7 });
    expect(program.mmap(fd, 0, 4096)).toBe("EBUSY");
    expect(program.reason).toContain("simpledrm");
    expect(program.pread(fd, 0, 4)).toBe("EBUSY");
    expect(program.pwrite(fd, 0, new Uint8Array(4))).toBe("EBUSY");
    expect(program.pread(fd, 0x1_0000, 4)).toBe("EINVAL");
  });

  test("leaves the others alone", () => {
    expect(program.mmap(fd, 5 * REGION, 4096)).toBe(0);
    expect(program.pwrite(fd, 7 * REGION + 4, Uint8Array.of(2, 0))).toBe(2);
    expect(program.pread(fd, 5 * REGION, 4)).toEqual(new Uint8Array(4));
  });
});

describe("an interrupt line", () => {
  const intx = (program: HostFileProgram, fd: Result, count = 1): Result => {
    const event = program.task.files.install(new EventFile(), false);
    const bytes = VfioIrqSet.encode({ flags: count === 0 ? 0x21 : 0x24, index: 0, start: 0, count }, count * 4);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, bytes.length, true);
    if (count > 0) view.setInt32(20, event, true);
    return program.ioctlBytes(fd, VFIO_DEVICE_SET_IRQS, bytes);
  };
  const two = (first: string, second: string) => {
    const program = new HostFileProgram(
      file([`bdf: 0000:03:00.0, id: "1234:1111", ${first}`, `bdf: 0000:04:00.0, id: "1234:2222", ${second}`]),
    );
    const { container, group } = program.container(0);
    return {
      program,
      first: program.deviceFd(group, "0000:03:00.0"),
      second: () => program.deviceFd(program.join(container, 1), "0000:04:00.0"),
    };
  };

  test("is shared by devices that can mask INTx", () => {
    const { program, first, second } = two("irq: 16", "irq: 16");
    expect(intx(program, first)).toBe(0);
    expect(intx(program, second())).toBe(0);
  });

  test("is not shared by one that cannot: EBUSY for whoever comes second, until the first is done", () => {
    const { program, first, second } = two("irq: 16, intx_masking: false", "irq: 16");
    const other = second();
    expect(intx(program, first)).toBe(0);
    expect(intx(program, other)).toBe("EBUSY");
    expect(intx(program, first, 0)).toBe(0);
    expect(intx(program, other)).toBe(0);
    expect(intx(program, first)).toBe("EBUSY");
    program.close(other);
    expect(intx(program, first)).toBe(0);
  });

  test("that the host's driver is on is not for one that cannot mask", () => {
    for (const [masking, expected] of [
      ["intx_masking: true", 0],
      ["intx_masking: false", "EBUSY"],
    ] as const) {
      const { program, first } = two(`irq: 16, ${masking}`, "irq: 16, driver: ehci-pci");
      expect(intx(program, first)).toBe(expected);
    }
    const { program, first } = two("irq: 16, intx_masking: false, irq_shared_with: i801_smbus", "irq: 17");
    expect(intx(program, first)).toBe("EBUSY");
    expect(program.reason).toContain("i801_smbus");
  });

  test("that there is none means no INTx; so it is for devices whose INTx is broken", () => {
    for (const device of ['id: "1234:1111", irq: 0', 'id: "8086:1572"']) {
      const { program, fd } = opened(device);
      expect((program.pread(fd, 7 * REGION + 0x3d, 1) as Uint8Array)[0]).toBe(0);
      expect(intx(program, fd)).toBe("EINVAL");
    }
  });
});

describe("the VGA region", () => {
  const vga = 'id: "8086:1622", class: 0x030000';

  test("is there on a VGA device, as large as legacy addresses go", () => {
    const { program, fd } = opened(vga);
    expect(program.region(fd, 8)).toEqual({ size: 0xc_0000n, flags: 3 });
    expect(program.pwrite(fd, 8 * REGION + 0xa_0000, Uint8Array.of(1, 2, 3, 4))).toBe(4);
    expect(program.pread(fd, 8 * REGION + 0xa_0000, 4)).toEqual(Uint8Array.of(1, 2, 3, 4));
    expect(program.pread(fd, 8 * REGION + 0x3ba, 4)).toHaveLength(2);
    expect(program.pread(fd, 8 * REGION + 0x3de, 4)).toHaveLength(2);
    expect(program.pread(fd, 8 * REGION + 0xb_fffe, 4)).toHaveLength(2);
    for (const at of [0, 0x3af, 0x3bc, 0x3e0, 0x9_ffff, 0xc_0000])
      expect(program.pread(fd, 8 * REGION + at, 1), at.toString(16)).toBe("EINVAL");
    expect(program.mmap(fd, 8 * REGION + 0xa_0000, 4096)).toBe("EINVAL");
  });

  test.each([
    ["another display", 'id: "8086:1622", class: 0x038000', ""],
    ["a kernel without it", vga, "modules: { vfio_pci: { vga: false } }"],
    ["disable_vga", vga, "modules: { vfio_pci: { disable_vga: true } }"],
    ["Arm", vga.replace("8086", "1234"), "arch: arm64"],
  ])("is not there: %s", (_what, device, more) => {
    const { program, fd } = opened(device, more);
    expect(program.region(fd, 8)).toBe("EINVAL");
    expect(program.pread(fd, 8 * REGION + 0xa_0000, 1)).toBe("EINVAL");
  });
});

describe("an expansion ROM", () => {
  const bar = "bars: [ { index: 6, size: 0x800, type: rom } ]";
  const read = (device: string) => {
    const { program, fd } = opened(device);
    program.pwrite(fd, 7 * REGION + 4, Uint8Array.of(2, 0));
    return { program, fd, bytes: program.pread(fd, 6 * REGION, 0x800) };
  };

  test("begins with its signature, and names the device", () => {
    const { program, fd, bytes } = read(`id: "1234:5678", ${bar}`);
    expect(program.region(fd, 6)).toEqual({ size: 0x800n, flags: 1 });
    const view = new DataView((bytes as Uint8Array).buffer);
    expect(view.getUint16(0, true)).toBe(0xaa55);
    expect(view.getUint32(view.getUint16(0x18, true) + 4, true)).toBe(0x5678_1234);
    expect(program.pwrite(fd, 6 * REGION, new Uint8Array(1))).toBe("EINVAL");
    expect(program.mmap(fd, 6 * REGION, 4096)).toBe("EINVAL");
  });

  test("that is given is read, and all ones behind it", () => {
    const image = new Uint8Array(512);
    image.set([0x55, 0xaa, 1]);
    image.set([0x1c], 0x18);
    image.set(new TextEncoder().encode("PCIR"), 0x1c);
    image.set([1, 0, 0, 0, 0, 0x80], 0x2c);
    const { bytes } = read(`id: "1234:5678", ${bar}, rom: "${Buffer.from(image).toString("hex")}"`);
    expect((bytes as Uint8Array).subarray(0, 512)).toEqual(image);
    expect((bytes as Uint8Array).subarray(512).every((byte) => byte === 0xff)).toBe(true);
  });

  test("without an image has size 0", () => {
    const { program, fd, bytes } = read(`id: "1234:5678", ${bar}, rom: none`);
    expect(program.region(fd, 6)).toEqual({ size: 0n, flags: 0 });
    expect(bytes).toBe("ENOMEM");
  });

  test("that is firmware's copy needs no BAR", () => {
    const { program, fd, bytes } = read('id: "8086:1622", class: 0x030000, rom: shadow');
    expect(program.region(fd, 6)).toEqual({ size: 0x2_0000n, flags: 1 });
    expect((bytes as Uint8Array).subarray(0, 2)).toEqual(Uint8Array.of(0x55, 0xaa));
    expect((program.pread(fd, 7 * REGION + 0x30, 4) as Uint8Array).every((byte) => byte === 0)).toBe(true);
  });
});
