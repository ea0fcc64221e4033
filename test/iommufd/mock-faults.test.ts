import { expect, test } from "vitest";
import {
  IOMMU_HWPT_ALLOC_NEST_PARENT as PARENT,
  IOMMU_HWPT_ALLOC_PASID as PASID,
} from "../../src/uapi/iommufd-hwpt.ts";
import * as uapi from "../../src/uapi/iommufd-test.ts";
import { APERTURE, MockLab, PAGE } from "./mock-lab.ts";

/** Everything in a row that makes something; ends with the first that fails. */
function walk(lab: MockLab, buffer: number): boolean {
  const made = (result: unknown) => typeof result !== "string";
  const device = lab.tryDevice(lab.space, uapi.MOCK_FLAGS_DEVICE_PASID);
  if (typeof device === "string") return false;
  const { stdev, idev } = device;
  if (!made(lab.mapIoas(lab.iommu, lab.space, buffer, 0x2000n, { iova: APERTURE }))) return false;
  const parent = lab.makeHwpt(idev, lab.space, PARENT);
  if (!made(parent)) return false;
  const { data_len, data_uptr } = lab.data({ data_type: 0, bytes: uapi.IommuViommuSelftest.encode({ in_data: 1 }) });
  const viommu = lab.viommu(idev, parent, { data_len, data_uptr });
  if (!made(viommu) || !made(lab.vdevice(viommu, idev, 5n)) || !made(lab.eventQueue(viommu, 1))) return false;
  if (!made(lab.hwQueue(viommu, 0, APERTURE, 4096n))) return false;
  const table = lab.nested(idev, viommu, PASID);
  if (!made(table) || lab.replace(stdev, table) !== 0) return false;
  const pasid_attach = { pasid: 9, pt_id: Number(table) };
  if (lab.check(uapi.IOMMU_TEST_OP_PASID_ATTACH, stdev, { pasid_attach }) !== 0) return false;
  const answer = lab.test(uapi.IOMMU_TEST_OP_CREATE_ACCESS, lab.space, {
    create_access: { out_access_fd: 0, flags: 1 },
  });
  if (typeof answer === "string") return false;
  const access = answer.create_access.out_access_fd;
  if (!made(lab.pin(access, APERTURE, PAGE, buffer))) return false;
  return lab.move(access, APERTURE, Buffer.alloc(8), true) === 0;
}

function failNth(lab: MockLab, nth: number): void {
  const file = lab.host.procFile(lab.task, lab.task.tid, "fail-nth")!;
  const address = lab.memory(PAGE);
  lab.task.memory.copyOut(address, Buffer.from(`${nth}`), 4);
  file.write(lab.task, address, `${nth}`.length, 0);
}

function leftOf(lab: MockLab): string {
  const file = lab.host.procFile(lab.task, lab.task.tid, "fail-nth")!;
  const address = lab.memory(PAGE);
  const count = file.read(lab.task, address, PAGE, 0);
  const text = Buffer.alloc(count);
  lab.task.memory.copyIn(address, text, count);
  return text.toString();
}

test("wherever a kernel may fail, nothing is left of what was half done", () => {
  let nth = 0;
  for (let isDone = false; !isDone; ) {
    nth++;
    const lab = new MockLab();
    lab.host.files.find("/sys/kernel/debug/failslab/ignore-gfp-wait");
    for (const attribute of ["failslab", "fail_page_alloc"])
      lab.host.parameters.write(`${attribute}/ignore-gfp-wait`, "N");
    const buffer = lab.shared(2);
    const pins = lab.task.memory.pinCount;
    failNth(lab, nth);
    const isWhole = walk(lab, buffer);
    isDone = leftOf(lab) !== "0\n";
    expect([nth, isWhole]).toEqual([nth, isDone]);
    failNth(lab, 0);
    // whatever stands can be taken down, in the order in which it stands
    lab.task.exit();
    expect([nth, lab.task.memory.pinCount - pins, lab.task.memory.pinnedPages]).toEqual([nth, 0, 0]);
    expect(lab.host.iommuUse).toMatchObject({ requesters: 0, entries: 0 });
  }
  expect(nth).toBeGreaterThan(40);
});

test("faults of an attribute: by probability, by interval, and so many times", () => {
  const lab = new MockLab();
  const { parameters } = lab.host;
  parameters.write("failslab/probability", "100");
  // memory that may be waited for does not fail before it is told to
  expect(lab.ioas(lab.iommu)).toBeTypeOf("number");
  parameters.write("failslab/ignore-gfp-wait", "N");
  expect([lab.ioas(lab.iommu), lab.ioas(lab.iommu)]).toEqual(["ENOMEM", expect.any(Number)]);
  expect(parameters.text("failslab/times")).toBe("0\n");
  parameters.write("failslab/times", "5");
  parameters.write("failslab/interval", "2");
  const outcomes = [1, 2, 3, 4].map(() => lab.ioas(lab.iommu) === "ENOMEM");
  expect(outcomes.filter(Boolean)).toHaveLength(2);
  expect(outcomes[0]).not.toBe(outcomes[1]);
});

test("debugfs shows the attributes where the kernel is one for tests, and nowhere else", () => {
  const { files } = new MockLab().host;
  expect(files.names("/sys/kernel/debug")).toEqual(["fail_iommufd", "fail_page_alloc", "failslab"]);
  expect(files.names("/sys/kernel/debug/fail_iommufd")).toEqual(["interval", "probability", "times", "verbose"]);
});
