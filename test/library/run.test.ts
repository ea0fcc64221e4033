import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { capture } from "../../src/library/capture.ts";
import { fit as doesFit } from "../../src/library/fit.ts";
import { run } from "../../src/library/run.ts";
import { trace } from "../../src/library/trace.ts";
import { UsageError } from "../../src/library/usage-error.ts";
import { defineHost } from "../../src/machine/define-host.ts";
import { compile, hasCompiler, ROOT, scratchFolder, uvfio } from "../cli/uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const DEVICE = "0000:00:1b.0";

describe("run()", () => {
  test("gives input to a program, collects what it prints, and passes its exit status on", async () => {
    const result = await run(["sh", "-c", 'read line; echo "got $line"; echo loud >&2; echo "$MINE"; exit 7'], {
      input: "some text\n",
      collect: true,
      env: { ...process.env, MINE: "yes" },
      cwd: "/",
    });
    expect(result).toMatchObject({
      status: 7,
      signal: undefined,
      timedOut: false,
      stdout: "got some text\nyes\n",
      stderr: "loud\n",
    });
    expect([result.failures, result.trace, result.leakedMappings]).toEqual([[], undefined, undefined]);
  });

  test("ends a program that takes too long", async () => {
    const result = await run(["sleep", "20"], { timeout: 200 });
    expect(result).toMatchObject({ status: 143, signal: "SIGTERM", timedOut: true });
  });

  test("refuses what it cannot run", async () => {
    await expect(run(["no-such-program"])).rejects.toThrow("no-such-program: not found along PATH");
    await expect(run(["true"], { host: "nowhere" })).rejects.toThrow('unknown host "nowhere"');
    await expect(run(["true"], { faults: ["MAP=ENOMEM"] })).rejects.toThrow(UsageError);
    // and goes on with what comes then
    expect((await run(["true"])).status).toBe(0);
  });

  test.skipIf(!hasCompiler)("tells which calls failed and why, on a host in code", async () => {
    const program = compile("iova-ranges", scratch.path);
    const host = defineHost({
      iommu: { model: "intel-vtd", address_bits: 39 },
      groups: [{ devices: [{ id: "8086:10d3", bdf: DEVICE }] }],
    });
    const [one, two] = await Promise.all([
      run([program, DEVICE], { host, collect: true, trace: true, sanitize: true }),
      run([program, DEVICE], { host, collect: true, faults: ["VFIO_IOMMU_MAP_DMA#1=ENOMEM"] }),
    ]);
    expect(one.stdout).toContain("valid iova 00000000fef00000 - 0000007fffffffff");
    expect(one.failures).toMatchObject([
      {
        program: "iova-ranges",
        call: "VFIO_IOMMU_MAP_DMA",
        errno: "EINVAL",
        reason: expect.stringContaining("reserved range 0xfee00000"),
      },
    ]);
    expect(two.failures.map(({ errno }) => errno)).toEqual(["ENOMEM", "EINVAL"]);
    // the trace is what the command reads too
    const failed = await trace(one.trace!, { failed: true });
    expect(failed.calls.map(({ line }) => line)).toEqual([expect.stringContaining("VFIO_IOMMU_MAP_DMA")]);
    const file = join(scratch.path, "t.jsonl");
    writeFileSync(file, one.trace!.map((operation) => `${JSON.stringify(operation)}\n`).join(""));
    expect(uvfio("trace", "--failed", file)).toEqual({ status: 0, stdout: `${failed.calls[0]!.line}\n`, stderr: "" });
    expect((await trace(file)).summary).toEqual((await trace(one.trace!)).summary);
    await expect(trace(file, { request: ["MAPDMA"] })).rejects.toThrow("request MAPDMA: no request or call has that");
  });

  test.skipIf(!hasCompiler)("tells what the sanitizer found, and what was left mapped", async () => {
    const result = await run([compile("misuse", scratch.path)], { host: "lab", sanitize: true, collect: true });
    const lines: string[] = [];
    const streamed = await run(["true"], { trace: (operation) => lines.push(operation.op) });
    expect(result.findings.join("\n")).not.toContain("no findings");
    expect([streamed.trace, lines]).toEqual([undefined, ["host", "end"]]);
  });
});

describe("fit()", () => {
  test("answers as the command does", async () => {
    const answer = await doesFit({ host: "amd", memory: "1011G", vmm: "pc-q35-7.0" });
    expect([answer.verdict, answer.memory, answer.validRanges?.length]).toEqual(["does-not-fit", 1011n << 30n, 3]);
    const command = uvfio("fit", "-m", "amd", "--memory", "1011G", "--vmm", "pc-q35-7.0");
    expect(command.stdout).toBe(`${answer.report().join("\n")}\n`);
    const json = uvfio("fit", "-m", "amd", "--memory", "1011G", "--vmm", "pc-q35-7.0", "--json");
    expect(JSON.parse(json.stdout)).toEqual(JSON.parse(JSON.stringify(answer)));
  });

  test("takes sizes and numbers as they are, and names what is wrong as a property", async () => {
    const most = await doesFit({ host: "amd", max: true, vmm: "pc-q35-7.0" });
    expect([most.memory, most.report()[0]]).toEqual([1010n << 30n, "At most 1010 GiB fits."]);
    expect((await doesFit({ memory: 1n << 36n, physBits: 40, slots: 2, maxMemory: 1n << 37n })).verdict).toBe("fits");
    await expect(doesFit({ memory: "64G", maxMemory: "1G" })).rejects.toThrow(
      "maxMemory: 1 GiB is less than memory 64 GiB",
    );
    await expect(doesFit({})).rejects.toThrow(UsageError);
  });
});

describe("capture()", () => {
  test("describes a tree as a host that can be used", async () => {
    const { host, yaml, missing } = capture({ name: "this one" });
    expect([host.name, missing.length > 0]).toEqual(["this one", true]);
    expect(yaml).toContain("# Captured by uvfio capture.");
    expect(() => capture({ root: join(ROOT, "docs") })).toThrow("no directory sys in it");
    expect((await run(["true"], { host })).status).toBe(0);
  });
});
