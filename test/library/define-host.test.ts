import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { defineHost } from "../../src/machine/define-host.ts";
import type {
  HostDefinition,
  MdevDeviceDefinition,
  PciDeviceDefinition,
  WholeGroupDefinition,
} from "../../src/machine/host-definition.ts";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { HostDescriptionError } from "../../src/machine/host-description-error.ts";
import type { DeviceFile, GroupFile, HostFile, PciFile } from "../../src/machine/host-schema.ts";
import { loadHost } from "../../src/machine/load-host.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { readyMadeHosts } from "../../src/machine/ready-made-hosts.ts";
import { toYaml } from "../../src/machine/write-host.ts";

/** A host's devices by group: what was filled in. */
function places({ groups }: HostDescription): unknown[] {
  return groups.map(({ id, devices }) => [
    id,
    ...devices.map((device) => (device.bus === "pci" ? device.bdf : device.uuid)),
  ]);
}

function problems(call: () => unknown): readonly string[] {
  try {
    call();
  } catch (error) {
    if (error instanceof HostDescriptionError) return error.problems;
    throw error;
  }
  return [];
}

/** True when two types have the same keys; otherwise the compiler names those that differ. */
type SameKeys<A, B> = [Exclude<keyof A, keyof B> | Exclude<keyof B, keyof A>] extends [never]
  ? true
  : Exclude<keyof A, keyof B> | Exclude<keyof B, keyof A>;

describe("a host in code", () => {
  test("can say what a host file can", () => {
    // keys that only recordings have are left out
    const host: SameKeys<HostDefinition, Omit<HostFile, "machine" | "kernel_command_line" | "qemu">> = true;
    const group: SameKeys<WholeGroupDefinition, GroupFile> = true;
    const device: SameKeys<PciDeviceDefinition, Omit<PciFile, "resource">> = true;
    const mediated: SameKeys<MdevDeviceDefinition, Extract<DeviceFile, { uuid: string }>> = true;
    expect([host, group, device, mediated]).not.toContain(false);
  });

  test("has numbers and addresses filled in around those that are said", () => {
    const host = defineHost({
      groups: ["edu", ["8086:10d3", { model: "ioat" }], { id: 1, devices: [{ id: "1234:11e8", bdf: "0000:01:00.0" }] }],
    });
    expect(places(host)).toEqual([
      [2, "0000:02:00.0"],
      [3, "0000:03:00.0", "0000:04:00.0"],
      [1, "0000:01:00.0"],
    ]);
    expect(host.groups.flatMap(({ devices }) => devices.map(({ model }) => model))).toEqual([
      "edu",
      "e1000e",
      "ioat",
      "edu",
    ]);
    expect([host.name, host.iommu.model]).toEqual(["host in code", "intel-vtd"]);
  });

  test.each(readyMadeHosts().map((host) => [host.name, host] as const))("is the same as a host file: %s", (_, host) => {
    const yaml = toYaml(host);
    const values = parse(yaml, { intAsBigInt: true, schema: "core" }) as HostDefinition & { kernel: unknown };
    expect(defineHost({ ...values, kernel: String(host.kernel) })).toEqual(parseHost(yaml, "it"));
  });

  test("takes bytes, numbers and bigints", () => {
    const config = new Uint8Array(256);
    config.set([0x86, 0x80, 0xd3, 0x10]);
    const host = defineHost({
      iommu: { model: "intel-vtd", address_bits: 39, page_sizes: 0x1000n },
      groups: [
        {
          devices: [{ id: "8086:10d3", config }],
          reserved_regions: [{ start: 0xfee00000, end: 0xfeefffffn, type: "msi" }],
        },
      ],
    });
    expect(host.groups[0]!.devices[0]).toMatchObject({ config });
    expect(host.groups[0]!.reservedRegions).toEqual([{ start: 0xfee00000n, last: 0xfeefffffn, type: "msi" }]);
    expect(host.iommu.pageSizes).toBe(0x1000n);
  });

  test("says all that is wrong, by field", () => {
    const wrong = { iommu: "intel", groups: [{ id: -1, devices: ["ed", { bdf: "1:2", id: "8086:10d3" }] }], grups: [] };
    expect(problems(() => defineHost(wrong as unknown as HostDefinition))).toEqual([
      expect.stringMatching(/^host in code: iommu\.model: "intel" is not one of intel-vtd, /),
      "host in code: groups[0].id: -1 is not from 0 to 2147483647",
      "host in code: groups[0].devices[0].id: missing",
      expect.stringMatching(
        /^host in code: groups\[0\]\.devices\[0\]\.model: "ed" is not one of .* \(did you mean edu\?\)$/,
      ),
      'host in code: groups[0].devices[1].bdf: not a PCI address: "1:2" (write it with its domain, like 0000:00:1b.0)',
      "host in code: grups: unknown key (did you mean groups?)",
    ]);
    expect(problems(() => defineHost({ groups: Array(300).fill("edu") })).length).toBeGreaterThan(0);
  });

  test("is loaded as one, as text, or as it is", async () => {
    const text = "name: mine\niommu: { model: amd-vi }\ngroups: []\n";
    expect(await loadHost(text)).toEqual(parseHost(text, "it"));
    expect(await loadHost({ name: "mine", iommu: "amd-vi" })).toEqual(parseHost(text, "it"));
    const host = defineHost({ name: "mine", iommu: "amd-vi" });
    expect(await loadHost(host, { kernel: "5.15" })).toEqual({ ...host, kernel: "5.15" });
    await expect(loadHost("name: mine\niommu: 3\n")).rejects.toThrow(
      "the host's text:2: iommu: must be a mapping, not 3",
    );
  });
});
