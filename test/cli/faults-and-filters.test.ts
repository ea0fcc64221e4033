import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { finished, scratchFolder, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

describe("--fault-each on any program", () => {
  const opens = (count: number, last: string) =>
    [...Array.from({ length: count }, () => ": 3<> /dev/vfio/vfio"), last].join("; ");

  test("folds runs that ended alike", () => {
    const { stderr, status } = uvfio("run", "--fault-each", "open", "--", "bash", "-c", opens(5, "exit 3"));
    expect(
      stderr
        .replaceAll(/^bash: .*\n/gm, "")
        .trimEnd()
        .split("\n"),
    ).toEqual([
      "uvfio: open #1 to #5 = ENOMEM, each of 5: exit status 3, no mapping left",
      "uvfio: open no fault: exit status 3, no mapping left",
      "uvfio: 5 faults of open: 0 killed the program, 0 left more mapped than the run without a fault, 0 ended with exit status 0",
    ]);
    expect(status).toBe(0);
  });

  test("ends a run that takes too long, with all that it started, and goes on", () => {
    const stuck = `: 3<> /dev/vfio/vfio || { trap "" TERM; sleep 777.5 & wait; sleep 777.5; }; ${opens(1, "exit 0")}`;
    const { stderr, status } = uvfio(
      "run",
      "--fault-timeout",
      "0.5",
      "--fault-each",
      "open",
      "--",
      "bash",
      "-c",
      stuck,
    );
    expect(
      stderr
        .replaceAll(/^bash: .*\n/gm, "")
        .trimEnd()
        .split("\n"),
    ).toEqual([
      "uvfio: open #1 = ENOMEM: not over after 0.5 s, ended (--fault-timeout), no mapping left",
      "uvfio: open #2 = ENOMEM: exit status 0, no mapping left",
      "uvfio: open no fault: exit status 0, no mapping left",
      "uvfio: 2 faults of open: 0 killed the program, 1 took too long, 0 left more mapped than the run without a fault, 1 ended with exit status 0",
    ]);
    expect(status).toBe(1);
    expect(finished("pgrep", ["-fx", "sleep 777.5"]).stdout).toBe("");
  });

  test.each([
    [["--fault-timeout", "3"], /--fault-timeout is about --fault-each/],
    [["--fault-each", "open", "--fault-timeout", "soon"], /--fault-timeout "soon": not seconds/],
    [["--fault-each", "dma:0000:00:1b.0=fault"], /only a request and an errno/],
    [["--fault-each", "VFIO_IOMMU_MAP_DMA#3=ENOMEM"], /only a request and an errno/],
    [["--fault-each", "IOMMU_IOAS_MAP"], /host intel has no \/dev\/iommu/],
    [["--fault-each", "MAPDMA"], /did you mean VFIO_IOMMU_MAP_DMA\?/],
  ])("%j is refused before anything is run", (options, message) => {
    const run = uvfio("run", ...options, "--", "echo", "ran");
    expect(run).toMatchObject({ status: 2, stdout: "", stderr: expect.stringMatching(message) });
  });
});

test.each([
  ["open@0x1000+1=EINVAL", /open is about no IOVAs/],
  ["VFIO_GET_API_VERSION@0x1000+1=EINVAL", /VFIO_GET_API_VERSION is about no IOVAs/],
  ["VFIO_IOMMU_SPAPR_TCE_CREATE=ENOMEM", /host intel has no sPAPR container/],
  ["VFIO_DEVICE_BIND_IOMMUFD=ENOMEM", /host intel has no \/dev\/iommu/],
  ["VFIO_IOMMU_MAP_DMA#0%=ENOMEM", /"#0%" fails nothing/],
  ["dma:00:1f.0=fault", /no PCI device "0000:00:1f.0" on this host/],
  ["VFIO_IOMMU_MAP_DMA=ENOMME", /did you mean ENOMEM\?/],
  ["\u001b[2J=ENOMEM", /"\\x1b\[2J" is no request/],
])("--fault %j, which names nothing, is refused with exit status 2", (spec, message) => {
  const run = uvfio("run", "--fault", spec, "--", "echo", "ran");
  expect(run).toMatchObject({ status: 2, stdout: "", stderr: expect.stringMatching(message) });
});

describe("uvfio trace's filters", () => {
  const file = join(scratch.path, "opened.jsonl");
  beforeAll(() => uvfio("run", "--trace", file, "--", "bash", "-c", ": 3<> /dev/vfio/vfio"));

  test.each([
    [["--request", "MAPDMA"], 2, /^uvfio: --request MAPDMA: .*\(did you mean MAP_DMA\?\)/],
    [["--fd", "99"], 2, /^uvfio: --fd 99: no call of .* is on it; there are: \d+ \(container1\)\n$/],
    [["--request", "MAP_DMA"], 0, /^uvfio: .*: no call in it matches the filter\n$/],
    [["--failed"], 0, /^uvfio: .*: no call in it matches the filter\n$/],
    [["--fd", "container1"], 0, /^$/],
  ])("%j", (options, status, message) => {
    const run = uvfio("trace", ...options, file);
    expect(run.stderr).toMatch(message);
    expect(run.status).toBe(status);
  });

  test("what a program named is shown, and does nothing to a terminal", () => {
    const evil = join(scratch.path, "evil.jsonl");
    const lines = [
      { op: "host", version: 1, name: "intel", argv: [] },
      { op: "open", path: "/dev/\u001b[2J\u009b", flags: "?", ret: -1, errno: "ENOENT", reason: "a\nb" },
      { op: "kmsg", lines: ["\u001b]0;x\u0007"] },
      { op: "end" },
    ];
    writeFileSync(evil, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    for (const options of [[], ["--summary"]]) {
      const { stdout } = uvfio("trace", ...options, evil);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
      expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    }
    expect(uvfio("trace", evil).stdout).toContain("/dev/\\x1b[2J\\x9b");
  });
});
