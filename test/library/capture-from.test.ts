import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nodeFeatures, resourceSlices } from "../../src/library/capture/kubernetes.ts";
import { capture } from "../../src/library/capture.ts";
import { loadHost } from "../../src/machine/load-host.ts";
import { writeTree } from "../machine/write-tree.ts";

const scratch = mkdtempSync(join(tmpdir(), "uvfio-test-"));
const copy = join(scratch, "copy");
const leftovers = () => readdirSync(tmpdir()).filter((name) => name.startsWith("uvfio-capture-"));
const before = leftovers();
afterAll(() => rmSync(scratch, { recursive: true }));

beforeAll(async () => writeTree(await loadHost("amd"), join(copy, "rack7")));

function archive(name: string, ...args: string[]): string {
  const file = join(scratch, name);
  execFileSync("tar", ["-C", copy, ...args, "-f", file, "rack7"]);
  return file;
}

describe("capture({ from })", () => {
  test("reads a folder, the folder that has it, and an archive of it, which all say the same", () => {
    const root = capture({ root: join(copy, "rack7") });
    expect(root.host.iommu.model).toBe("amd-vi");
    for (const from of [join(copy, "rack7"), copy, archive("a.tgz", "-cz"), archive("a.tar", "-c")])
      expect(capture({ from }).host).toEqual(root.host);
    expect(leftovers()).toEqual(before);
  });

  test("says what the copy lacks", () => {
    const part = archive(
      "part.tar",
      "-c",
      "--exclude=rack7/sys/module/vfio_iommu_type1",
      "--exclude=rack7/proc/cmdline",
    );
    const { missing } = capture({ from: part });
    expect(missing.join("\n")).toContain(
      "/sys/module/vfio_iommu_type1/parameters is not in the copy: limits and settings",
    );
    expect(missing.join("\n")).toContain("/proc/cmdline is not in the copy");
    writeFileSync(join(copy, "rack7/proc/cmdline"), "");
    expect(capture({ from: copy }).missing.join("\n")).toContain("/proc/cmdline is empty in the copy");
  });

  test("takes files that tar has filled up with zeros", () => {
    const limit = join(copy, "rack7/sys/module/vfio_iommu_type1/parameters/dma_entry_limit");
    const text = readFileSync(limit, "utf8");
    writeFileSync(limit, "4711\n".padEnd(4096, "\0"));
    expect(capture({ from: copy }).host.modules.vfioIommuType1.dmaEntryLimit).toBe(4711);
    writeFileSync(limit, text);
  });

  test("does not follow links that lead out of the copy", () => {
    const secret = join(scratch, "secret");
    writeFileSync(secret, "9.9.9\n");
    const release = join(copy, "rack7/proc/sys/kernel/osrelease");
    const text = readFileSync(release, "utf8");
    rmSync(release);
    symlinkSync(secret, release);
    expect(capture({ from: copy }).yaml).not.toContain("9.9.9");
    rmSync(release);
    writeFileSync(release, text);
  });

  test("refuses what is no copy of a host, and leaves nothing behind", () => {
    mkdirSync(join(scratch, "empty"));
    expect(() => capture({ from: join(scratch, "empty") })).toThrow(/no folder sys in it/);
    expect(() => capture({ from: join(scratch, "nowhere") })).toThrow(/it is not there/);
    writeFileSync(join(scratch, "x.tar"), "no archive at all, but text");
    expect(() => capture({ from: join(scratch, "x.tar") })).toThrow(/cannot be unpacked/);
    expect(leftovers()).toEqual(before);
    expect(existsSync(copy)).toBe(true);
  });
});

describe("for Kubernetes", () => {
  test("devices that VFIO has are a ResourceSlice", async () => {
    const [slice, ...others] = resourceSlices(await loadHost("amd")) as [Record<string, never>];
    expect(others).toEqual([]);
    expect(slice).toMatchObject({
      apiVersion: "resource.k8s.io/v1",
      kind: "ResourceSlice",
      spec: {
        nodeName: "amd",
        pool: { name: "amd", generation: 1, resourceSliceCount: 1 },
        devices: [
          {
            name: "0000-01-00-0",
            attributes: { vendor: { string: "8086" }, iommuGroup: { int: 13 }, iovaBits: { int: 64 } },
          },
        ],
      },
    });
  });

  test("a slice has at most 128 devices, and names that Kubernetes takes", async () => {
    const host = await loadHost("amd");
    const [group] = host.groups;
    const groups = Array.from({ length: 200 }, (_, id) => ({
      ...group!,
      id,
      devices: [{ ...group!.devices[0]!, bdf: `0000:${id.toString(16).padStart(2, "0")}:00.0` }],
    })) as typeof host.groups;
    const slices = resourceSlices({ ...host, name: "Rack 7.example", groups }) as {
      metadata: { name: string };
      spec: { devices: { name: string }[] };
    }[];
    expect(slices.map(({ spec }) => spec.devices.length)).toEqual([128, 72]);
    for (const { metadata, spec } of slices)
      for (const name of [metadata.name, ...spec.devices.map((device) => device.name)])
        expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
  });

  test("a host is labels, whose values Kubernetes takes", async () => {
    const lines = nodeFeatures(await loadHost("amd"));
    expect(lines).toContain("vfio.iommu=amd-vi");
    expect(lines).toContain("vfio.device-8086-10d3=1");
    for (const line of lines) expect(line).toMatch(/^[\w.-]{1,63}=[A-Za-z0-9][\w.-]{0,62}$/);
  });
});
