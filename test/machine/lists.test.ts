import { expect, test } from "vitest";
import { iommuKinds, kindOf } from "../../src/iommu/kinds.ts";
import { READY_MADE_NAMES, readyMadeHost, readyMadeHosts } from "../../src/machine/ready-made-hosts.ts";

test("hosts and kinds of IOMMU are listed by their own names", () => {
  expect(readyMadeHosts().map(({ name }) => name)).toEqual(READY_MADE_NAMES);
  for (const kind of iommuKinds()) expect(kindOf(kind.model)).toBe(kind);
});

test("what every object has is no host and no kind", () => {
  expect(readyMadeHost("constructor")).toBeUndefined();
  expect(() => kindOf("toString")).toThrow('no kind of IOMMU is called "toString"');
});
