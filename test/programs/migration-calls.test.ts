import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compile, hasCompiler, scratchFolder, uvfio } from "../cli/uvfio.ts";
import { whileServed } from "./device-servers.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const ONE = "0000:01:00.0";
const TWO = "0000:02:00.0";

describe.skipIf(!hasCompiler)("a program in C that migrates edu by VFIO's own calls (needs gcc)", () => {
  const program = hasCompiler ? compile("migration", scratch.path) : "";
  const host = (kernel?: string) => {
    const file = join(scratch.path, `${kernel ?? "newest"}.yaml`);
    writeFileSync(
      file,
      `name: edus
${kernel ? `kernel: "${kernel}"\n` : ""}iommu: { model: intel-vtd, address_bits: 39 }
groups:
  - { id: 1, devices: [{ bdf: "${ONE}", id: "1234:11e8" }] }
  - { id: 2, devices: [{ bdf: "${TWO}", id: "1234:11e8" }] }
`,
    );
    return file;
  };
  const run = (kernel: string | undefined, ...args: string[]) => runOn(host(kernel), ...args);
  const runOn = (file: string, ...args: string[]) => {
    const { status, stdout, stderr } = uvfio("run", "-m", file, "--", program, ...args);
    return { status, lines: stdout.trimEnd().split("\n"), stderr };
  };

  test("the same of devices that other uvfios serve by vfio-user", async () => {
    const kept = await whileServed(scratch.path, host(), ONE, (first) =>
      whileServed(scratch.path, host(), TWO, (second) => {
        const file = join(scratch.path, "served.yaml");
        const device = (bdf: string, socket: string) => ({
          bdf,
          id: "1234:11e8",
          model: "vfio-user",
          options: { socket },
        });
        const groups = [
          { id: 1, devices: [device(ONE, first)] },
          { id: 2, devices: [device(TWO, second)] },
        ];
        writeFileSync(
          file,
          JSON.stringify({ name: "served", iommu: { model: "intel-vtd", address_bits: 39 }, groups }),
        );
        const arcs = runOn(file, "arcs", ONE);
        expect(arcs.lines, arcs.stderr).toEqual(run(undefined, "arcs", ONE).lines);
        const moved = runOn(file, "move", ONE, TWO);
        expect(moved.lines, moved.stderr).toEqual(["precopy flags 5a5a", "data size exact", "moved"]);
        const bad = runOn(file, "bad", ONE, TWO);
        expect(bad.lines, bad.stderr).toEqual(run(undefined, "bad", ONE, TWO).lines);
        for (const [what, told] of Object.entries({ log: "logged", quiet: "quiet" })) {
          const { status, lines, stderr } = runOn(file, what, ONE);
          expect([status, lines], stderr).toEqual([0, [told]]);
          expect(stderr).not.toMatch(/is gone/);
        }
      }),
    );
    expect(kept.said + kept.value.said).not.toMatch(/given up/);
  });

  const ALL = ["STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P"];
  const BEFORE_6_2 = ALL.slice(0, 5);
  const SAVING = ["PRE_COPY", "PRE_COPY_P2P"];

  /** What the documentation of <linux/vfio.h> says of a change of state. */
  function outcome(from: string, to: string, states: readonly string[]): string {
    if (!states.includes(to)) return `Invalid argument, ${from}`;
    if (from === to) return `ok, ${to}`;
    if (from === "STOP_COPY" && SAVING.includes(to)) return "Invalid argument, STOP_COPY";
    // nothing was written into the data file
    if (from === "RESUMING") return "Invalid argument, ERROR";
    const goesOn = SAVING.includes(from) && (SAVING.includes(to) || to === "STOP_COPY");
    const givesFile = to === "STOP_COPY" || to === "RESUMING" || SAVING.includes(to);
    return `ok, ${to}${givesFile && !goesOn ? ", file" : ""}`;
  }

  test.each([
    [undefined, 7, ALL],
    ["6.1", 3, BEFORE_6_2],
  ])("each state leads where it must (kernel %s)", (kernel, flags, states) => {
    const { status, lines, stderr } = run(kernel, "arcs", ONE);
    expect(status, stderr).toBe(0);
    const order = ["ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P"];
    const expected = order
      .slice(1)
      .flatMap((from) =>
        states.includes(from)
          ? [...order, "8"].map((to) => `${from} ${to}: ${outcome(from, to, states)}`)
          : [`${from}: Invalid argument`],
      );
    expect(lines).toEqual([`flags ${flags}`, ...expected]);
  });

  test.each([
    [undefined, "precopy flags 5a5a"],
    ["7.2", "precopy flags 0"],
  ])("edu goes from one device to another, in portions of odd sizes (kernel %s)", (kernel, flags) => {
    const { status, lines, stderr } = run(kernel, "move", ONE, TWO);
    expect([status, lines], stderr).toEqual([0, [flags, "data size exact", "moved"]]);
  });

  test("streams that are cut, changed, foreign or too long change nothing, and the device waits for its reset", () => {
    const { status, lines, stderr } = run(undefined, "bad", ONE, TWO);
    expect(status, stderr).toBe(0);
    expect(lines.slice(2)).toEqual([
      "nothing: refused",
      "cut: refused",
      "half: refused",
      "no stream: refused at once",
      "changed: refused at once",
      "of another device: refused at once",
      "too long: refused at once",
      "whole: taken",
    ]);
    expect(stderr).toMatch(/takes nothing of the stream: it is cut short/);
  });

  test("what a device writes by DMA is logged, and nothing else", () => {
    const { status, lines, stderr } = run(undefined, "log", ONE);
    expect([status, lines], stderr).toEqual([0, ["logged"]]);
  });

  test("a device that is held does no DMA and interrupts nobody, and does later what it was told in RUNNING_P2P", () => {
    const { status, lines, stderr } = run(undefined, "quiet", ONE);
    expect([status, lines], stderr).toEqual([0, ["quiet"]]);
    expect(stderr).toMatch(/a write to 0x98 of BAR 0 is lost: the device is stopped/);
  });

  test("before 5.18 there is nothing of it", () => {
    const { status, stderr } = run("5.17", "arcs", ONE);
    expect(status).toBe(1);
    expect(stderr).toMatch(/VFIO_DEVICE_FEATURE = (ENOTTY|EINVAL)/);
  });
});
