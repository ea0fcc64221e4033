import { describe, expect, test } from "vitest";
import { reportSelftests } from "../../../src/inspect/selftests/report.ts";
import { readResults } from "../../../src/inspect/selftests/test-results.ts";

const OUTPUT = `TAP version 13
1..4
# Starting 4 tests from 4 test cases.
#  RUN           map.iommufd_compat_type1v2.full ...
#            OK  map.iommufd_compat_type1v2.full
ok 1 map.iommufd_compat_type1v2.full
Mapped HVA 0x1 at IOVA 0x2
#      SKIP      mmap() failed: Cannot allocate memory (12)
ok 2 map.iommufd_anonymous_hugetlb.full # SKIP mmap() failed: Cannot allocate memory (12)
# map.c:137:full:Expected 0 (0) == map() (-1)
not ok 3 map.vfio_type1_iommu.full
ok 4 cdev.bind
# Totals: pass:2 fail:1 xfail:0 xpass:0 skip:1 error:0
`;

describe("a test program's output", () => {
  test("gives each test, its mode, and why it failed or was skipped", () => {
    expect(readResults("map", OUTPUT, 1).results).toEqual([
      { name: "map.iommufd_compat_type1v2.full", mode: "iommufd_compat_type1v2", outcome: "pass", detail: "" },
      {
        name: "map.iommufd_anonymous_hugetlb.full",
        mode: "iommufd",
        outcome: "skip",
        detail: "mmap() failed: Cannot allocate memory (12)",
      },
      {
        name: "map.vfio_type1_iommu.full",
        mode: "vfio_type1_iommu",
        outcome: "fail",
        detail: "# map.c:137:full:Expected 0 (0) == map() (-1)",
      },
      { name: "cdev.bind", mode: undefined, outcome: "pass", detail: "" },
    ]);
  });

  test("a program that dies between its tests has failed, whatever passed before", () => {
    const [first, died] = readResults("map", "1..2\nok 1 a.iommufd.b\nhalf a li", null).results;
    expect(first!.outcome).toBe("pass");
    expect(died).toEqual({
      name: "map",
      mode: undefined,
      outcome: "fail",
      detail: "was killed before its tests did\nhalf a li",
    });
    expect(readResults("map", "cannot open\n", 1).results).toMatchObject([
      { outcome: "fail", detail: "ended with status 1 before its tests did\ncannot open" },
    ]);
  });

  test("a program may be skipped as a whole, with a plan or without", () => {
    const reason = "SR-IOV may not be supported";
    const skipped = [{ name: "sriov", mode: undefined, outcome: "skip", detail: reason }];
    expect(readResults("sriov", `1..0 # SKIP ${reason}\n`, 4).results).toEqual(skipped);
    expect(readResults("sriov", `${reason}\n`, 4).results).toEqual(skipped);
  });

  test("the report counts by mode and repeats what failed", () => {
    const lines = reportSelftests([readResults("map", OUTPUT, 1)]).split("\n");
    expect(lines[1]!.split(/ +/)).toEqual(["map", "0/1/0", "-", "-", "1/0/0", "0/0/1", "1/0/0"]);
    expect(lines.slice(3)).toEqual([
      "failed: map.vfio_type1_iommu.full",
      "  # map.c:137:full:Expected 0 (0) == map() (-1)",
      "",
      "skipped 1: mmap() failed: Cannot allocate memory (12)",
      "",
      "2 passed, 1 failed, 1 skipped",
    ]);
  });
});
