import { describe, expect, test } from "vitest";
import { HostFileProgram } from "./host-file-program.ts";

const TOKEN = "11111111-2222-3333-4444-555555555555";
const BYTES = Uint8Array.from(TOKEN.replaceAll("-", "").match(/../g)!, (digits) => Number.parseInt(digits, 16));
const SET = 1 << 17;
const GET = 1 << 16;
const PROBE = 1 << 18;
const PF = "0000:01:00.0";
const VF = "0000:01:10.0";

const host = (kernel = "6.12", driver = "vfio-pci") => `
name: functions
kernel: "${kernel}"
iommu: { model: intel-vtd, address_bits: 48 }
groups:
  - id: 6
    devices: [ { bdf: ${PF}, id: "8086:10c9", driver: "${driver}", sriov_totalvfs: 8 } ]
  - id: 9
    devices: [ { bdf: ${VF}, id: "8086:10ca", physfn: ${PF}, bars: [ { index: 0, size: 0x4000, type: memory64 } ] } ]
  - id: 10
    devices: [ { bdf: 0000:03:00.0, id: "8086:10fb" } ]
`;

/** As recorded on igb39: sriov_vf_token, sriov_vf_token_pf_closed. */
describe("a VF token", () => {
  const opened = (yaml = host()) => {
    const program = new HostFileProgram(yaml);
    const { container, group } = program.container(6);
    return { program, pf: group, vf: program.join(container, 9), other: program.join(container, 10) };
  };

  test("is set on the physical function and wanted by the virtual one", () => {
    const { program, pf, vf } = opened();
    expect(program.deviceFd(vf, VF)).toBe("EACCES");
    const device = program.deviceFd(pf, PF);
    expect(program.feature(device, SET, BYTES)).toBe(0);
    expect(program.deviceFd(vf, `${VF} vf_token=${TOKEN.replace("5555", "6666")}`)).toBe("EACCES");
    expect(program.deviceFd(vf, `${VF} vf_token=${TOKEN}`)).toBeTypeOf("number");
    expect(program.deviceFd(vf, `${VF}  vf_token=${TOKEN} `)).toBeTypeOf("number");
  });

  test("outlives the physical function's file, which needs it too while a virtual one is open", () => {
    const { program, pf, vf } = opened();
    const device = program.deviceFd(pf, `${PF} vf_token=${TOKEN}`);
    const virtual = program.deviceFd(vf, `${VF} vf_token=${TOKEN}`);
    program.close(device);
    expect(program.deviceFd(pf, PF)).toBe("EACCES");
    expect(program.deviceFd(pf, `${PF} vf_token=${TOKEN.replace("1111", "9999")}`)).toBe("EACCES");
    expect(program.deviceFd(pf, `${PF} vf_token=${TOKEN}`)).toBeTypeOf("number");
    program.close(virtual);
    expect(program.deviceFd(pf, PF)).toBeTypeOf("number");
    expect(program.deviceFd(pf, `${PF} vf_token=${TOKEN.replace("1111", "9999")}`)).toBeTypeOf("number");
    expect(program.deviceFd(vf, `${VF} vf_token=${TOKEN}`)).toBe("EACCES");
  });

  test.each([
    [`vf_token=${TOKEN.slice(1)}`],
    [`vf_token=${TOKEN.replace("1", "g")}`],
    [`vf_token=${TOKEN} vf_token=${TOKEN}`],
    [`vf_token=${TOKEN}x`],
    ["token=1"],
  ])("that is malformed, or given twice, is EINVAL: %s", (option) => {
    const { program, pf, vf } = opened();
    expect(program.deviceFd(vf, `${VF} ${option}`)).toBe("EINVAL");
    expect(program.deviceFd(pf, `${PF} ${option}`)).toBe("EINVAL");
  });

  test("cannot be read; a virtual function and one without any have none", () => {
    const { program, pf, vf, other } = opened();
    const device = program.deviceFd(pf, `${PF} vf_token=${TOKEN}`);
    expect(program.feature(device, GET, BYTES)).toBe("EINVAL");
    expect(program.feature(device, SET | PROBE, new Uint8Array())).toBe(0);
    expect(program.feature(device, SET, BYTES.subarray(1))).toBe("EINVAL");
    expect(program.feature(program.deviceFd(vf, `${VF} vf_token=${TOKEN}`), SET, BYTES)).toBe("ENOTTY");
    expect(program.deviceFd(other, `0000:03:00.0 vf_token=${TOKEN}`)).toBe("EINVAL");
    expect(program.feature(program.deviceFd(other, "0000:03:00.0"), SET, BYTES)).toBe("ENOTTY");
  });

  test("is one too many when the host's driver has the physical function", () => {
    const program = new HostFileProgram(host("6.12", "igb"));
    const { group } = program.container(9);
    expect(program.deviceFd(group, `${VF} vf_token=${TOKEN}`)).toBe("EINVAL");
    expect(program.deviceFd(group, VF)).toBeTypeOf("number");
  });

  test("came with 5.7: before, a name is a name, and nobody asks", () => {
    const { program, vf, pf } = opened(host("5.6"));
    expect(program.deviceFd(vf, `${VF} vf_token=${TOKEN}`)).toBe("ENODEV");
    expect(program.deviceFd(vf, VF)).toBeTypeOf("number");
    expect(program.feature(program.deviceFd(pf, PF), SET, BYTES)).toBe("ENOTTY");
  });

  test("is wanted where only the ids say that a device is a virtual function", () => {
    const program = new HostFileProgram(host().replace(`physfn: ${PF}, `, ""));
    expect(program.deviceFd(program.container(9).group, VF)).toBe("EACCES");
  });
});

test("config space of a virtual function: ids and BARs are filled in, no INTx, memory always on", () => {
  const program = new HostFileProgram(host("6.12", "igb"));
  const device = program.deviceFd(program.container(9).group, VF);
  const config = program.pread(device, 7 * 2 ** 40, 64) as Uint8Array;
  const view = new DataView(config.buffer);
  expect(view.getUint32(0, true)).toBe(0x10ca_8086);
  expect(view.getUint16(4, true) & 2).toBe(2);
  expect(view.getUint32(0x10, true)).toBe(0x0c);
  expect(config[0x3d]).toBe(0);
  // recorded on igb39: sriov_vf_describe
  program.pwrite(device, 7 * 2 ** 40 + 4, Uint8Array.of(0, 0));
  expect(program.pread(device, 0, 4)).toEqual(new Uint8Array(4));
  expect(program.region(device, 7)).toEqual({ size: 4096n, flags: 3 });
});
