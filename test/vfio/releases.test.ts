import { describe, expect, test } from "vitest";
import { parseHost } from "../../src/machine/parse-host.ts";
import { VFIO_GROUP_GET_STATUS, VFIO_SET_IOMMU, VfioGroupStatus } from "../../src/uapi/vfio.ts";
import { VfioIommuType1Info } from "../../src/uapi/vfio-type1.ts";
import { Program, type Result } from "./program.ts";

/** One group of a device for user space and, perhaps, more; as a host file of the given release. */
function host(kernel: string, iommu: string, groups: string) {
  return parseHost(`name: releases\nkernel: "${kernel}"\niommu: ${iommu}\ngroups:\n${groups}`, "releases.yaml");
}

const DEVICE = (bdf: string, more = "") => `{ bdf: ${bdf}, id: "1234:11e8"${more} }`;
const GROUP = (id: number, devices: string, more = "") => `  - { id: ${id}, devices: [${devices}]${more} }\n`;
const CONTAINER = "/dev/vfio/vfio";

function status(program: Program, group: Result): number {
  const bytes = VfioGroupStatus.encode({ argsz: VfioGroupStatus.size });
  expect(program.ioctlBytes(group, VFIO_GROUP_GET_STATUS, bytes)).toBe(0);
  return VfioGroupStatus.decode(bytes).flags;
}

describe("memory that firmware uses through a device (RMRR, type direct)", () => {
  const rmrr = GROUP(
    1,
    DEVICE("0000:00:04.0"),
    ", reserved_regions: [{ start: 0xbd000000, end: 0xbd00ffff, type: direct }]",
  );
  const attempt = (kernel: string, iommu: string) => {
    const program = new Program(host(kernel, iommu, rmrr));
    const container = program.open(CONTAINER);
    const set = program.setContainer(program.open("/dev/vfio/1"), container);
    return [set, set === 0 ? program.ioctl(container, VFIO_SET_IOMMU, 1) : "none", program.reason];
  };

  test.each([
    ["3.16", 0, 0],
    ["3.17", 0, "EPERM"],
    ["5.14", 0, "EPERM"],
    ["6.5", 0, "EPERM"],
    ["6.6", "EINVAL", "none"],
  ])("VT-d, %s: SET_CONTAINER %s, SET_IOMMU %s", (kernel, set, iommu) => {
    expect(attempt(kernel, "{ model: intel-vtd }").slice(0, 2)).toEqual([set, iommu]);
  });

  test("is said with the kernel's own words", () => {
    expect(attempt("5.14", "{ model: intel-vtd }")[2]).toMatch(
      /0xbd000000-0xbd00ffff .*0000:00:04\.0 \(group 1\).*platform RMRR/,
    );
  });

  test("AMD-Vi lets it pass until 6.6", () => {
    expect(attempt("6.5", "{ model: amd-vi }").slice(0, 2)).toEqual([0, 0]);
    expect(attempt("6.6", "{ model: amd-vi }")[0]).toBe("EINVAL");
  });
});

describe("a group that the host has devices of", () => {
  const groups = GROUP(
    1,
    [DEVICE("0000:00:04.0"), DEVICE("0000:00:04.1", ", driver: e1000e"), DEVICE("0000:00:04.2", ", driver: nvme")].join(
      ", ",
    ),
  );

  test.each(["5.10", "5.18"])("%s takes it into a container and refuses its devices", (kernel) => {
    const program = new Program(host(kernel, "{ model: intel-vtd }", groups));
    const group = program.open("/dev/vfio/1");
    expect(status(program, group)).toBe(0);
    const container = program.open(CONTAINER);
    expect(program.setContainer(group, container)).toBe(0);
    expect(status(program, group)).toBe(2);
    expect(program.ioctl(container, VFIO_SET_IOMMU, 1)).toBe(0);
    expect(program.deviceFd(group, "0000:00:04.0")).toBe("EINVAL");
    expect(program.reason).toContain("0000:00:04.1 (e1000e), 0000:00:04.2 (nvme) belong to the host");
  });

  test("5.19 refuses it at SET_CONTAINER, and names every driver", () => {
    const program = new Program(host("5.19", "{ model: intel-vtd }", groups));
    expect(program.setContainer(program.open("/dev/vfio/1"), program.open(CONTAINER))).toBe("EPERM");
    expect(program.reason).toContain("0000:00:04.1 (e1000e), 0000:00:04.2 (nvme) belong to the host");
  });
});

test.each([
  ["6.1", "EINVAL"],
  ["6.2", "EBADFD"],
])("a descriptor that is no container, %s: %s", (kernel, errno) => {
  const program = new Program(host(kernel, "{ model: intel-vtd }", GROUP(1, DEVICE("0000:00:04.0"))));
  const group = program.open("/dev/vfio/1");
  expect(program.setContainer(group, group)).toBe(errno);
  expect(program.setContainer(group, 77)).toBe("EBADF");
});

test.each([
  ["6.0", "EINVAL", "EINVAL"],
  ["6.1", "EBADF", "EBADF"],
])("a descriptor that is not open, %s: -1 is %s, and of a group in a container %s", (kernel, negative, second) => {
  const program = new Program(host(kernel, "{ model: intel-vtd }", GROUP(1, DEVICE("0000:00:04.0"))));
  const group = program.open("/dev/vfio/1");
  expect(program.setContainer(group, -1)).toBe(negative);
  expect(program.setContainer(group, 77)).toBe("EBADF");
  expect(program.setContainer(group, program.open(CONTAINER))).toBe(0);
  expect(program.setContainer(group, 77)).toBe(second);
});

describe("a mapping beyond the IOMMU's tables", () => {
  const map = (kernel: string, model: string, iova: bigint) => {
    const program = new Program(host(kernel, model, GROUP(1, DEVICE("0000:00:04.0"))));
    const { container } = program.container(1);
    return program.map(container, iova, program.memory(4096), 4096n);
  };

  test.each([
    ["5.3", "{ model: intel-vtd, address_bits: 39 }", 1n << 39n, "EFAULT"],
    ["5.3", "{ model: intel-vtd, address_bits: 39 }", (1n << 39n) - 4096n, 0],
    // the MSI window is nobody's business yet
    ["5.3", "{ model: intel-vtd, address_bits: 39 }", 0xfee0_0000n, 0],
    ["5.3", "{ model: amd-vi, address_bits: 40 }", 1n << 41n, 0],
    ["5.4", "{ model: intel-vtd, address_bits: 39 }", 1n << 39n, "EINVAL"],
  ])("%s, %s, %s: %s", (kernel, model, iova, answer) => {
    expect(map(kernel, model, iova)).toBe(answer);
  });
});

describe("a new domain gets all that is mapped already", () => {
  const groups =
    GROUP(1, DEVICE("0000:00:04.0")) +
    GROUP(5, DEVICE("0000:00:05.0"), ", iommu: { page_sizes: 0xffffffffffff0000 }") +
    GROUP(12, "{ uuid: c08db5ed-05d3-4b39-b150-438a18bc698f, parent: 0000:00:04.0, type: uvfio-sample }");
  const attach = (first: number, second: number, iova: bigint) => {
    const program = new Program(host("6.12", "{ model: intel-vtd, address_bits: 57 }", groups));
    const { container } = program.container(first);
    const map = () => program.map(container, iova, program.memory(4096), 4096n);
    expect(map()).toBe(0);
    const answer = program.setContainer(program.open(`/dev/vfio/${second}`), container);
    // a refused attach leaves the mapping
    if (answer !== 0) expect(map()).toBe("EEXIST");
    return answer;
  };

  test.each([
    ["a mediated device's at 2^60, 57 bits of VT-d", 12, 1, 1n << 60n, "EFAULT"],
    ["a mediated device's at 2^56, 57 bits of VT-d", 12, 1, 1n << 56n, 0],
    ["a mediated device's of 4 KiB, pages of 64 KiB", 12, 5, 0x1000n, "EINVAL"],
    ["an IOMMU's of 4 KiB, pages of 64 KiB", 1, 5, 0x1000n, "EINVAL"],
  ])("%s", (_what, first, second, iova, answer) => {
    expect(attach(first, second, iova)).toBe(answer);
  });
});

test.each([
  ["5.14", 0xffff_ffff_ffff_f000n],
  ["5.15", 0x4020_1000n],
])("page sizes of VT-d, %s", (kernel, sizes) => {
  const program = new Program(
    host(kernel, "{ model: intel-vtd, page_sizes: 0x40201000 }", GROUP(1, DEVICE("0000:00:04.0"))),
  );
  const { container } = program.container(1);
  expect(VfioIommuType1Info.decode(program.info(container)).iova_pgsizes).toBe(sizes);
});
