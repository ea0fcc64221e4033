import { describe, expect, test } from "vitest";
import { parseHost } from "../../src/machine/parse-host.ts";
import * as cdev from "../../src/uapi/vfio-cdev.ts";
import { IommufdProgram } from "./iommufd-program.ts";

const TOKEN = Uint8Array.from({ length: 16 }, (_, i) => i * 17);
const TEXT = "00112233-4455-6677-8899-aabbccddeeff";

const host = (kernel: string) =>
  parseHost(
    `
name: functions
kernel: "${kernel}"
iommu: { model: intel-vtd, address_bits: 48 }
iommufd: true
groups:
  - { id: 6, devices: [ { bdf: 0000:01:00.0, id: "8086:10c9" } ] }
  - { id: 9, devices: [ { bdf: 0000:01:10.0, id: "8086:10ca", physfn: 0000:01:00.0 } ] }
`,
    "functions.yaml",
  );

/** Binds the virtual function by its own node. The physical one's token was set by opening it through its group. */
const bindVirtual = (kernel: string, token?: Uint8Array) => {
  const program = new IommufdProgram(host(kernel));
  const { group } = program.container(6);
  program.close(program.deviceFd(group, `0000:01:00.0 vf_token=${TEXT}`));
  const device = program.open("/dev/vfio/devices/vfio1");
  const address = program.memory(4096);
  if (token) program.task.memory.copyOut(address, token, token.length);
  const layout = cdev.VfioDeviceBindIommufdV617;
  const bytes = layout.encode({
    argsz: token ? layout.size : cdev.VfioDeviceBindIommufd.size,
    flags: token ? cdev.VFIO_DEVICE_BIND_FLAG_TOKEN : 0,
    iommufd: Number(program.iommufd()),
    token_uuid_ptr: BigInt(address),
  });
  return program.ioctlBytes(device, cdev.VFIO_DEVICE_BIND_IOMMUFD, bytes);
};

describe("BIND_IOMMUFD of a virtual function", () => {
  test("wants its physical one's token from 6.17 on", () => {
    expect(bindVirtual("6.17", TOKEN)).toBe(0);
    expect(bindVirtual("6.17", TOKEN.with(15, 0))).toBe("EACCES");
    expect(bindVirtual("6.17")).toBe("EACCES");
  });

  test("before, it asks for none and takes none", () => {
    expect(bindVirtual("6.16")).toBe(0);
    // the structure has grown by the token, and there is one (copy_struct_from_user)
    expect(bindVirtual("6.16", TOKEN)).toBe("E2BIG");
  });
});
