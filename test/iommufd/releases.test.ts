import { describe, expect, test } from "vitest";
import { Host } from "../../src/host/host.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { IommufdProgram } from "./iommufd-program.ts";

const FIRST = "/dev/vfio/devices/vfio0";
const SECOND = "/dev/vfio/devices/vfio1";
const PAGE = 4096n;
const LAST_PAGE = 2n ** 64n - PAGE;

/** One group of two devices behind an IOMMU, on a kernel with iommufd. */
function host(kernel: string, model: string, container = "type1") {
  return parseHost(
    `name: iommufd-releases
kernel: "${kernel}"
iommufd: true
vfio_container: ${container}
iommu: { model: ${model}, interrupt_remapping: true }
groups:
  - { id: 1, devices: [{ bdf: 0000:00:06.0, id: "1234:11e8" }, { bdf: 0000:00:06.1, id: "1234:11e8" }] }
`,
    "iommufd-releases.yaml",
  );
}

function bound(kernel: string, model: string) {
  const program = new IommufdProgram(host(kernel, model));
  const fd = program.iommufd();
  const [first, second] = [program.open(FIRST), program.open(SECOND)];
  expect([program.bind(first, fd), program.bind(second, fd)]).toEqual([1, 2]);
  return { program, fd, first, second, ioas: program.ioas(fd) };
}

/** Command, the release that brought it, and the one before. */
const COMMANDS: readonly (readonly [name: string, number: number, since: string, before: string])[] = [
  ["IOMMU_DESTROY", 0x3b80, "6.2", "6.1"],
  ["IOMMU_IOAS_ALLOC", 0x3b81, "6.2", "6.1"],
  ["IOMMU_IOAS_ALLOW_IOVAS", 0x3b82, "6.2", "6.1"],
  ["IOMMU_IOAS_COPY", 0x3b83, "6.2", "6.1"],
  ["IOMMU_IOAS_IOVA_RANGES", 0x3b84, "6.2", "6.1"],
  ["IOMMU_IOAS_MAP", 0x3b85, "6.2", "6.1"],
  ["IOMMU_IOAS_UNMAP", 0x3b86, "6.2", "6.1"],
  ["IOMMU_OPTION", 0x3b87, "6.2", "6.1"],
  ["IOMMU_VFIO_IOAS", 0x3b88, "6.2", "6.1"],
  ["IOMMU_HWPT_ALLOC", 0x3b89, "6.6", "6.5"],
  ["IOMMU_GET_HW_INFO", 0x3b8a, "6.6", "6.5"],
  ["IOMMU_HWPT_SET_DIRTY_TRACKING", 0x3b8b, "6.7", "6.6"],
  ["IOMMU_HWPT_GET_DIRTY_BITMAP", 0x3b8c, "6.7", "6.6"],
  ["IOMMU_HWPT_INVALIDATE", 0x3b8d, "6.8", "6.7"],
  ["IOMMU_FAULT_QUEUE_ALLOC", 0x3b8e, "6.11", "6.10"],
  ["IOMMU_IOAS_MAP_FILE", 0x3b8f, "6.13", "6.12"],
  ["IOMMU_VIOMMU_ALLOC", 0x3b90, "6.13", "6.12"],
  ["IOMMU_VDEVICE_ALLOC", 0x3b91, "6.13", "6.12"],
  ["IOMMU_IOAS_CHANGE_PROCESS", 0x3b92, "6.13", "6.12"],
  ["IOMMU_VEVENTQ_ALLOC", 0x3b93, "6.15", "6.14"],
  ["IOMMU_HW_QUEUE_ALLOC", 0x3b94, "6.17", "6.16"],
];

test.each(COMMANDS)("%s (%i) came with %s: %s does not know it", (_name, number, since, before) => {
  const answer = (kernel: string) => {
    const program = new IommufdProgram(host(kernel, "intel-vtd"));
    const fd = program.iommufd();
    return typeof fd === "string" ? fd : program.ioctlBytes(fd, number, new Uint8Array(8));
  };
  // a structure of size 0 is too short for every command that there is
  expect([answer(before), answer(since)]).toEqual([before === "6.1" ? "ENOENT" : "ENOTTY", "EINVAL"]);
});

test.each([
  ["6.5", "ENOENT", "ENOTTY"],
  ["6.6", "number", "EFAULT"],
])("devices' own nodes and BIND_IOMMUFD, %s: %s, %s", (kernel, node, bind) => {
  const program = new IommufdProgram(host(kernel, "intel-vtd"));
  const opened = program.open(FIRST);
  expect(typeof opened === "number" ? "number" : opened).toBe(node);
  if (typeof opened === "number") program.close(opened);
  const device = program.deviceFd(program.container(1).group, "0000:00:06.0");
  expect(program.ioctl(device, 0x3b76, 0)).toBe(bind);
});

describe("a mapping that ends with the last byte of the address space", () => {
  test.each([
    ["amd-vi", "7.0", LAST_PAGE],
    ["amd-vi", "7.1", "EINVAL"],
    ["amd-vi", "7.2", "EINVAL"],
    ["virtio-iommu", "7.2", LAST_PAGE],
  ])("%s, %s, in an iommufd: %s", (model, kernel, answer) => {
    const { program, fd, first, ioas } = bound(kernel, model);
    const memory = program.memory(8192);
    // while nothing is attached no tables are asked
    expect(program.mapIoas(fd, ioas, memory, PAGE, { iova: LAST_PAGE })).toBe(LAST_PAGE);
    const attached = program.attach(first, ioas);
    if (answer === "EINVAL") {
      expect(attached).toBe("EINVAL");
      program.unmapIoas(fd, ioas);
      expect(program.attach(first, ioas)).toBeTypeOf("number");
    } else program.unmapIoas(fd, ioas);
    expect(program.mapIoas(fd, ioas, memory, PAGE, { iova: LAST_PAGE })).toBe(answer);
    if (answer === "EINVAL") expect(program.reason).toContain("ends with the last byte of the address space");
    expect(program.mapIoas(fd, ioas, memory, PAGE, { iova: LAST_PAGE - PAGE })).toBe(LAST_PAGE - PAGE);
    expect(program.task.memory.pinnedPages).toBe(answer === "EINVAL" ? 1 : 2);
  });

  test.each([
    ["type1", 0],
    ["iommufd", "EINVAL"],
  ])("amd-vi, 7.2, in VFIO's container that is %s: %s", (kind, answer) => {
    const program = new IommufdProgram(host("7.2", "amd-vi", kind), {}, new Host(host("7.2", "amd-vi", kind)));
    const { container, group } = program.container(1);
    expect(program.deviceFd(group, "0000:00:06.0")).toBeTypeOf("number");
    expect(program.map(container, LAST_PAGE, program.memory(4096), PAGE)).toBe(answer);
  });
});

describe("the second device of a group", () => {
  test.each([
    ["virtio-iommu", "6.12", true],
    ["virtio-iommu", "7.2", false],
    ["amd-vi", "7.2", true],
  ])("behind %s, %s", (model, kernel, joins) => {
    const { program, first, second, ioas } = bound(kernel, model);
    const hwpt = program.attach(first, ioas);
    expect(hwpt).toBeTypeOf("number");
    expect(program.attach(second, ioas)).toBe(joins ? hwpt : "EINVAL");
    if (joins) return;
    expect(program.reason).toContain("another device of group 1 is attached");
    expect(program.detach(first)).toBe(0);
    expect(program.attach(second, ioas)).toBeTypeOf("number");
  });
});
