import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { recording } from "../machine/recordings.ts";
import { writeTree } from "../machine/write-tree.ts";
import { scratchFolder, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe("uvfio capture", () => {
  const tree = join(scratch.path, "tree");
  writeTree(recording("intel39"), tree);

  test("prints a host file that fit takes", () => {
    const { status, stdout, stderr } = uvfio("capture", "--root", tree, "--name", "mine");
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("name: mine\n");
    const file = join(scratch.path, "mine.yaml");
    writeFileSync(file, stdout);
    const answer = uvfio("fit", "-m", file, "--memory", "1T");
    expect(answer.stdout).toContain("intel-vtd, 39 address bits");
    expect(answer.status).toBe(1);
    // the same answer as for the machine itself
    const direct = uvfio(
      "fit",
      "-m",
      new URL("../machine/hosts/intel39.json", import.meta.url).pathname,
      "--memory",
      "1T",
    );
    const verdict = (text: string) => text.slice(text.indexOf("It does not fit"), text.indexOf("\nhost "));
    expect(verdict(answer.stdout)).toBe(verdict(direct.stdout));
  });

  test("as JSON it is the same host file", () => {
    const yaml = join(scratch.path, "captured.yaml");
    const json = join(scratch.path, "captured-json.yaml");
    for (const [file, ...options] of [[yaml], [json, "--json"]] as const)
      expect(uvfio("capture", "--root", tree, "-o", file, ...options).status).toBe(0);
    expect(JSON.parse(readFileSync(json, "utf8")).groups.length).toBeGreaterThan(0);
    expect(uvfio("hosts", "--yaml", json)).toEqual(uvfio("hosts", "--yaml", yaml));
  });

  test("writes a file with -o, and run takes it", () => {
    const file = join(scratch.path, "out.yaml");
    expect(uvfio("capture", "--root", tree, "-o", file)).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(readFileSync(file, "utf8")).toContain("# Captured by uvfio capture.\n");
    expect(uvfio("hosts", file).status).toBe(0);
    expect(uvfio("iova-list", "-m", file, "0000:00:04.0").stdout).toContain("0000007fffffffff");
  });

  test("says in the file and on stderr what is missing, a line each, and fit says why nothing fits", () => {
    const empty = join(scratch.path, "empty");
    mkdirSync(join(empty, "sys"), { recursive: true });
    const file = join(scratch.path, "none.yaml");
    const { status, stderr } = uvfio("capture", "--root", empty, "-o", file);
    expect(status).toBe(0);
    const lines = stderr.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^uvfio: missing: no IOMMU: /);
    for (const line of lines)
      expect(readFileSync(file, "utf8")).toContain(`# Missing: ${line.slice("uvfio: missing: ".length)}\n`);
    const answer = uvfio("fit", "-m", file, "--memory", "1G");
    expect(answer.status).toBe(1);
    expect(answer.stdout).toContain("no IOMMU: VFIO cannot map guest memory");
  });

  test("describes the machine that the test runs on, whatever it is", () => {
    const { status, stdout } = uvfio("capture");
    expect([0, 2]).toContain(status);
    if (status === 0) expect(stdout).toContain("name: captured\n");
  });

  test.each([
    ["a folder that is not there", ["--root", "/nonexistent"], /\/nonexistent: no directory sys in it/],
    [
      "a file that cannot be written",
      ["--root", tree, "-o", "/nonexistent/x"],
      /\/nonexistent\/x: cannot be written \(ENOENT: the folder is not there\)/,
    ],
  ])("refuses %s in one line, with exit status 2", (_what, args, message) => {
    const { status, stdout, stderr } = uvfio("capture", ...args);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect([status, stdout]).toEqual([2, ""]);
  });
});
