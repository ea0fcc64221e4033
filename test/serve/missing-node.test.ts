import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";

describe.skipIf(!hasCompiler)("a node that is not there", () => {
  const scratch = scratchFolder();
  let client: string;
  beforeAll(() => {
    client = compile("shared-host", scratch.path);
  });
  afterAll(() => scratch.remove());

  test.each([
    ["/dev/vfio/77", "has no group 77: its groups are 0, 1, 2"],
    ["/dev/vfio/0", "no device of group 0 is bound to vfio-pci on host lab (Linux 6.12): 0000:00:02.0 is i915's"],
    ["/dev/vfio/devices/vfio99", "/dev/vfio/devices/vfio99 is not on host lab"],
  ])("%s: says why, and is in the trace", (path, text) => {
    const trace = `${scratch.path}/trace.jsonl`;
    const run = uvfio("run", "-m", "lab", "--trace", trace, "--", client, "open", path);
    expect(run.stdout).toBe(`open ${path}: ENOENT\n`);
    expect(run.stderr).toContain(`openat ${path} = ENOENT: `);
    expect(run.stderr).toContain(text);
    expect(uvfio("trace", trace).stdout).toContain(`open("${path}"`);
  });

  test("is nothing to say of when the program has another /dev, or makes it", () => {
    const script = "echo > /dev/vfio/mine && cat /dev/vfio/mine; : 3<>/dev/vfio/99; ls /dev/vfio/99";
    expect(uvfio("run", "-m", "lab", "--", "sh", "-c", script).stderr).toBe("");
  });
});
