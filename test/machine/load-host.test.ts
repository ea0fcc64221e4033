import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { HostDescriptionError } from "../../src/machine/host-description-error.ts";
import { loadHost } from "../../src/machine/load-host.ts";
import { readyMadeHost, readyMadeHosts } from "../../src/machine/ready-made-hosts.ts";
import { recordingText } from "./recordings.ts";

const folder = mkdtempSync(path.join(tmpdir(), "uvfio-hosts-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const at = path.join(folder, name);
  writeFileSync(at, text);
  return at;
}

async function refusal(name: string, overrides = {}): Promise<string> {
  const error = await loadHost(name, overrides).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(HostDescriptionError);
  expect((error as Error).message).not.toContain("\n");
  return (error as Error).message;
}

describe("a host by name", () => {
  test("the default is the mail's Intel system", async () => {
    const host = await loadHost();
    expect(host.name).toBe("intel");
    expect(host.iommu).toMatchObject({
      model: "intel-vtd",
      apertureLast: 0x1ff_ffff_ffff_ffffn,
      pageSizes: 0xffff_ffff_ffff_f000n,
    });
    const devices = host.groups.flatMap((group) => group.devices.map((device) => ({ group, device })));
    const audio = devices.find(({ device }) => device.bus === "pci" && device.bdf === "0000:00:1b.0")!;
    expect(audio.device).toMatchObject({ driver: "vfio-pci", vendor: 0x8086, class: 0x040300 });
    expect(audio.group.reservedRegions).toEqual([{ start: 0xfee0_0000n, last: 0xfeef_ffffn, type: "msi" }]);
    const mdev = devices.find(({ device }) => device.bus === "mdev")!;
    expect(mdev.device).toMatchObject({ uuid: "c08db5ed-05d3-4b39-b150-438a18bc698f", iommuBacked: false });
    expect(mdev.group).toMatchObject({ reservedRegions: [], devices: [mdev.device] });
  });

  test("the mail's AMD system", async () => {
    const host = await loadHost("amd");
    expect(host.iommu).toMatchObject({
      model: "amd-vi",
      apertureLast: 0xffff_ffff_ffff_ffffn,
      pageSizes: 0xffff_ff7f_ffff_f000n,
    });
    expect(host.groups[0]!.devices[0]).toMatchObject({ bdf: "0000:01:00.0", driver: "vfio-pci" });
    expect(host.groups[0]!.reservedRegions[1]).toEqual({
      start: 0xfd_0000_0000n,
      last: 0xff_ffff_ffffn,
      type: "reserved",
    });
  });

  test("with another kernel and other meanings of numbers", async () => {
    const host = await loadHost("intel", { kernel: "5.4", api: "vsva-v7" });
    expect(host).toEqual({ ...readyMadeHost("intel"), kernel: "5.4", api: "vsva-v7" });
    expect((await loadHost("intel")).kernel).toBe("6.12");
  });

  test("overrides that make no sense", async () => {
    expect(await refusal("intel", { kernel: "6" })).toBe(
      '--kernel: "6" is not a kernel release (write it like 6.12, or as uname -r prints it)',
    );
    expect(await refusal("intel", { api: "v7" })).toBe(
      '--api: no such profile: "v7" (there are: mainline, vsva-v1, vsva-v7, rfc-2017)',
    );
    expect(await refusal("s390", { api: "vsva-v7" })).toBe(
      "--api: vsva-v7 was proposed for little-endian machines; s390 is s390x",
    );
  });

  test("nobody of that name", async () => {
    expect(await refusal("inetl")).toBe(
      `unknown host "inetl" (did you mean intel?); ready-made hosts: ${readyMadeHosts()
        .map(({ name }) => name)
        .join(", ")}; or give a YAML file (or a recording's host.json)`,
    );
  });
});

describe("a host by file", () => {
  test("YAML", async () => {
    const at = file("mine.yaml", "name: mine\nkernel: 5.10\niommu: { model: amd-vi }\ngroups: []\n");
    expect(await loadHost(at)).toMatchObject({ name: "mine", kernel: "5.10" });
    expect((await loadHost(at, { kernel: "7.2" })).kernel).toBe("7.2");
  });

  test("a recording's host.json", async () => {
    expect((await loadHost(file("host.json", recordingText("smmuv3")))).name).toBe("smmuv3");
  });

  test("one that is not there, or is no file, or is wrong", async () => {
    expect(await refusal("./nothing.yaml")).toMatch(/^\.\/nothing\.yaml: no such file; ready-made hosts: intel, amd/);
    expect(await refusal(folder)).toBe(`${folder}: cannot be read (EISDIR: it is a directory)`);
    const at = file("bad.yaml", "name: bad\niommu:\n  model: nothing\ngroups: []\n");
    expect(await refusal(at)).toMatch(new RegExp(`^${at}:3: iommu\\.model: "nothing" is not one of `));
  });
});
