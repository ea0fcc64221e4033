import { describe, expect, test } from "vitest";
import { Host } from "../../src/iommufd/host.ts";
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
