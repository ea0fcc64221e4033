import { describe, expect, test } from "vitest";
import { loadHost } from "../../src/machine/load-host.ts";
import { parseHost } from "../../src/machine/parse-host.ts";

const host = (kernel: string, more: string, devices = 'bdf: 0000:00:04.0, id: "1234:11e8"') =>
  parseHost(`name: old\nkernel: "${kernel}"\n${more}\ngroups: [{ id: 1, devices: [{ ${devices} }] }]\n`, "old.yaml");

describe("a kernel that has no driver for the host", () => {
  test.each([
    ["virtio-iommu", "5.2", "5.3"],
    ["arm-smmu-v3", "4.1", "4.2"],
    ["spapr-tce", "3.10", "3.11"],
    ["s390", "4.3", "4.4"],
    ["intel-vtd-sm", "5.5", "5.6"],
    ["intel-vtd-ss", "4.20", "5.0"],
  ])("%s: %s is refused, %s is not", (model, before, since) => {
    const iommu = `iommu: { model: ${model} }`;
    expect(() => host(before, iommu)).toThrow(
      `old.yaml:2: kernel: ${before} has no driver for ${model}: that came with ${since}`,
    );
    expect(host(since, iommu).kernel).toBe(since);
  });

  test.each(["intel-vtd", "amd-vi", "none"])("%s is as old as VFIO", (model) => {
    expect(host("3.6", `iommu: { model: ${model} }`).kernel).toBe("3.6");
  });

  test("iommufd as the container", () => {
    const more = "iommu: { model: intel-vtd }\nvfio_container: iommufd\niommufd: true";
    expect(() => host("6.1", more)).toThrow("6.1 has no iommufd, which vfio_container asks for: that came with 6.2");
    expect(host("6.2", more).kernel).toBe("6.2");
  });

  test("is refused on the command line too", async () => {
    await expect(loadHost("virtio", { kernel: "4.19.0-27-amd64" })).rejects.toThrow(
      "--kernel: 4.19 has no driver for virtio-iommu: that came with 5.3",
    );
  });
});

test("ready-made hosts are without their mediated devices before there were any", async () => {
  const mediated = async (kernel: string) =>
    (await loadHost("lab", { kernel })).groups.flatMap(({ devices }) => devices.filter(({ bus }) => bus === "mdev"));
  expect(await mediated("4.9")).toEqual([]);
  expect((await mediated("4.10")).length).toBeGreaterThan(0);
});
