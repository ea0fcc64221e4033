import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type FleetRow, judgeFleet, shapeOf } from "../../../src/library/fit/fleet.ts";
import { expandHosts } from "../../../src/library/fit/host-files.ts";
import { loadHost } from "../../../src/machine/load-host.ts";
import { toYaml } from "../../../src/machine/write-host.ts";
import { scratchFolder } from "../../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const text = toYaml(await loadHost("amd"));
const named = (name: string, from = text) => from.replace(/^name: .*$/m, `name: ${name}`);

function write(path: string, content: string): string {
  const file = join(scratch.path, path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, content);
  return file;
}

async function rows(...args: Parameters<typeof judgeFleet>): Promise<FleetRow[]> {
  const found: FleetRow[] = [];
  for await (const row of judgeFleet(...args)) found.push(row);
  return found;
}

describe("a shape", () => {
  test("is the same whatever a host and its devices are called", () => {
    const other = named("rack2")
      .replace(/^description: .*$/m, 'description: "another one"')
      .replace(/^( +name: ).*$/m, "$1another card");
    expect(shapeOf(other, "a")).toBe(shapeOf(text, "b"));
    expect(shapeOf(`# made by hand\n\n${text}`, "a")).toBe(shapeOf(text, "a"));
  });

  test.each([
    ["a kernel", /^kernel: .*$/m, 'kernel: "5.3"'],
    ["a reserved region", "0xfee00000", "0xfed00000"],
    ["a module's parameter", "dma_entry_limit: 65535", "dma_entry_limit: 16"],
    ["an address", "0000:01:00.0", "0000:02:00.0"],
  ])("is another one for %s", (_what, from, to) => {
    expect(text.replace(from, to)).not.toBe(text);
    expect(shapeOf(text.replace(from, to), "a")).not.toBe(shapeOf(text, "a"));
  });

  test("counts the folder of a host that names other files", () => {
    const model = text.replace(/model: (?!amd)\S+/, "model: ./card.mjs");
    expect(model).not.toBe(text);
    expect(shapeOf(model, "a")).not.toBe(shapeOf(model, "b"));
  });
});

describe("a fleet", () => {
  test("has a row for each host, and those of one shape have one verdict", async () => {
    const files = ["a", "b", "c"].map((name) => write(`${name}.yaml`, named(name)));
    files.push(write("d.yaml", named("d", text.replace("dma_entry_limit: 65535", "dma_entry_limit: 16"))));
    const found = await rows({ memory: "64G", chunk: "1G" }, files);
    expect(found.map(({ host, verdict }) => [host, verdict])).toEqual([
      ["a", "fits"],
      ["b", "fits"],
      ["c", "fits"],
      ["d", "does-not-fit"],
    ]);
    expect(new Set(found.map(({ shape }) => shape)).size).toBe(2);
    expect(found[3]!.reasons.join()).toContain("of 16 (dma_entry_limit)");
    expect(found[0]).toMatchObject({
      iommu: "amd-vi",
      memory_gib: 64,
      devices: [{ address: "0000:01:00.0", group: 13 }],
    });
  });

  test("goes on behind a file that is broken, and behind a host that lacks what is asked for", async () => {
    const files = [write("x.yaml", "groups: 5\n"), write("y.yaml", named("y")), "intel"];
    const found = await rows({ memory: "1G", devices: ["8086:10d3"] }, files);
    expect(found.map(({ verdict }) => verdict)).toEqual(["unreadable", "fits", "does-not-fit"]);
    expect(found[0]!.reasons[0]).toContain("x.yaml:1");
    expect(found[2]!.reasons).toEqual(["--device 8086:10d3: it has no device with these ids"]);
  });

  test("is not read for a question that makes no sense on any host", async () => {
    await expect(rows({ memory: "some" }, ["amd"])).rejects.toThrow("--memory: not a size");
    await expect(rows({}, ["amd"])).rejects.toThrow("say how much memory");
  });
});

describe("-m", () => {
  const folder = join(scratch.path, "many");
  for (const name of ["r1.yaml", "r2.yml", "s1.yaml", "note.txt", ".hidden.yaml", "deep/t1.yaml"])
    write(`many/${name}`, text);
  const short = (paths: readonly string[]) => paths.map((path) => path.slice(folder.length + 1));

  test("takes patterns as a shell does, and folders", () => {
    expect(short(expandHosts([`${folder}/r*.y*ml`]))).toEqual(["r1.yaml", "r2.yml"]);
    expect(short(expandHosts([`${folder}/[!r]?.yaml`]))).toEqual(["s1.yaml"]);
    expect(short(expandHosts([`${folder}/*/*.yaml`]))).toEqual(["deep/t1.yaml"]);
    expect(short(expandHosts([folder]))).toEqual([".hidden.yaml", "r1.yaml", "r2.yml", "s1.yaml"]);
    expect(expandHosts(["amd", `${folder}/s1.yaml`])).toEqual(["amd", `${folder}/s1.yaml`]);
  });

  test("says what stands for nothing", () => {
    expect(() => expandHosts([`${folder}/z*.yaml`])).toThrow(/no file has such a name/);
    mkdirSync(join(folder, "empty"));
    expect(() => expandHosts([join(folder, "empty")])).toThrow(/no host file/);
  });
});
