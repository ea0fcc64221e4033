import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { mountsOfRuns } from "../mounts.ts";
import { compile, finished, hasCompiler, ROOT, scratchFolder, UVFIO, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const isRoot = process.getuid?.() === 0;

describe("uvfio run", () => {
  describe.skipIf(!hasCompiler)("of a compiled program (needs gcc and linux-libc-dev)", () => {
    const outcome = (host: string, device: string, ...options: string[]) =>
      uvfio("run", "-m", host, ...options, "--", compile("iova-ranges", scratch.path), device);

    test("shows the valid ranges of the default host, refuses the interrupt window and says why", () => {
      const { status, stdout, stderr } = outcome("intel", "0000:00:1b.0");
      expect(stdout.split("\n")).toEqual([
        "0000:00:1b.0: page sizes 0xfffffffffffff000, info of 120 bytes",
        "valid iova 0000000000000000 - 00000000fedfffff",
        "valid iova 00000000fef00000 - 01ffffffffffffff",
        "map iova 0x10000: ok",
        "map iova 0xfee00000: Invalid argument",
        "",
      ]);
      expect(stderr).toMatch(
        /^uvfio: iova-ranges\[\d+\]: VFIO_IOMMU_MAP_DMA = EINVAL: iova 0xfee00000-0xfee00fff overlaps the reserved range 0xfee00000-0xfeefffff \(msi\) of 0000:00:1b\.0 \(group \d+\)\n$/,
      );
      expect(status).toBe(0);
    });

    test("shows the HyperTransport hole on amd", () => {
      const { status, stdout } = outcome("amd", "0000:01:00.0");
      expect(stdout).toContain("valid iova 00000000fef00000 - 000000fcffffffff");
      expect(stdout).toContain("valid iova 0000010000000000 - ffffffffffffffff");
      expect(status).toBe(0);
    });

    test("behaves as kernel 5.4 did: only the range capability, no padding between capabilities", () => {
      expect(outcome("intel", "0000:00:1b.0", "--kernel", "5.4").stdout).toContain("info of 72 bytes");
    });

    test("works for a statically linked program", () => {
      const binary = compile("iova-ranges", scratch.path, "-static");
      expect(uvfio("run", "--", binary).status).toBe(0);
    });

    test.skipIf(!isRoot)("works for an ordinary user, through a user namespace (needs root to become one)", () => {
      const binary = compile("iova-ranges", scratch.path);
      finished("chmod", ["755", scratch.path]);
      const ordinary = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
      const run = finished("setpriv", [...ordinary, process.execPath, UVFIO, "run", "--", binary], { cwd: "/" });
      expect(run.stderr).toContain("overlaps the reserved range");
      expect(run.stdout).toContain("valid iova 0000000000000000 - 00000000fedfffff");
      expect(run.status).toBe(0);
    });
  });

  test("of the project's own client, a separate process, prints the listing of the iova-list mail", () => {
    const client = join(ROOT, "dist/client/iova-list-main.js");
    const program = [process.execPath, client, "c08db5ed-05d3-4b39-b150-438a18bc698f", "0000:00:1b.0"];
    const outside = uvfio("run", "--kernel", "5.4", "--", ...program);
    const inside = uvfio("iova-list", "--kernel", "5.4", "c08db5ed-05d3-4b39-b150-438a18bc698f", "0000:00:1b.0");
    expect(outside.stderr).toBe("");
    expect(outside.stdout).toBe(inside.stdout);
    expect(outside.stdout).toContain("40: ffff ffff ffff ff01");
    expect(outside.status).toBe(0);
  });

  test.each([
    ["an exit status", ["sh", "-c", "exit 37"], 37],
    ["the death by a signal", ["sh", "-c", "kill -KILL $$"], 137],
    ["success", ["true"], 0],
  ])("passes on %s", (_what, program, status) => {
    expect(uvfio("run", "--", ...program).status).toBe(status);
  });

  test("passes on input, output and arguments as they are", () => {
    const script = 'cat; printf "%s|" "$@"; echo err >&2';
    const run = finished(process.execPath, [UVFIO, "run", "--", "sh", "-c", script, "sh", "a b", "", "-m"], {
      input: "in\n",
    });
    expect(run).toEqual({ status: 0, stdout: "in\na b||-m|", stderr: "err\n" });
  });

  test("lets a program write the mapping limit, which counts for containers that get their IOMMU afterwards", () => {
    const client = `${process.execPath} ${join(ROOT, "dist/client/iova-list-main.js")} 0000:00:1b.0`;
    const parameter = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";
    const script = `cat ${parameter}; ${client} | grep avail:; echo 7 > ${parameter}; ${client} | grep avail:; echo x > ${parameter}; ${client} | grep avail:`;
    const { stdout, stderr } = uvfio("run", "--", "sh", "-c", script);
    expect(stdout).toBe("65535\navail: 65535\navail: 7\navail: 7\n");
    expect(stderr).toMatch(/dma_entry_limit = EINVAL: "x" is not a number/);
  });

  test("leaves no mount, no process and no file behind", () => {
    const temporary = join(scratch.path, "temporary");
    mkdirSync(temporary);
    // what others mount and write meanwhile is not looked at
    const state = () =>
      [...mountsOfRuns(scratch.path), finished("sh", ["-c", `ls ${temporary}; ls /dev/vfio 2>&1`]).stdout].join("\n");
    const before = state();
    // uvfio's own command line has the words too
    const mark = `left-by-${process.pid}`;
    const script = `ls /dev/vfio > /dev/null; : ${mark}; pgrep -fc ${mark} > ${scratch.path}/meanwhile`;
    const env = { ...process.env, TMPDIR: temporary };
    finished(process.execPath, [UVFIO, "run", "--", "sh", "-c", script], { env });
    expect(Number(readFileSync(`${scratch.path}/meanwhile`, "utf8"))).toBeGreaterThan(1);
    expect(state()).toBe(before);
    expect(finished("pgrep", ["-fc", mark]).stdout.trim()).toBe("0");
  });

  test("shows the host's devices in /sys and its nodes in /dev", () => {
    const { stdout } = uvfio(
      "run",
      "--",
      "sh",
      "-c",
      "ls /sys/bus/pci/devices /dev/vfio; cat /sys/bus/pci/devices/0000:00:1b.0/vendor",
    );
    expect(stdout).toContain("0000:00:1b.0");
    expect(stdout).toContain("vfio");
    expect(stdout).toContain("0x8086");
  });
});

describe("bad input ends in one clear line and exit status 2", () => {
  const hostFile = join(scratch.path, "host.yaml");
  writeFileSync(hostFile, "name: mine\ngroups:\n  - id: 1\n    devices:\n      - bdf: nonsense\n");

  test.each([
    ["an unknown host", ["run", "-m", "nosuch", "--", "true"], /unknown host "nosuch".*intel, amd/],
    ["a bad host file", ["run", "-m", hostFile, "--", "true"], /host\.yaml:5: .*bdf.*nonsense/],
    ["an unknown program", ["run", "--", "no-such-program"], /no-such-program.*not found/],
    [
      "a device that is not on the host",
      ["iova-list", "0000:00:1f.0"],
      /"0000:00:1f.0" is not on host intel; its devices: /,
    ],
    [
      "a kernel release that is none",
      ["iova-list", "--kernel", "six", "0000:00:1b.0"],
      /"six" is not a kernel release/,
    ],
    ["an unknown API profile", ["iova-list", "--api", "x", "0000:00:1b.0"], /no such profile: "x"/],
    ["a missing argument", ["run"], /missing required argument/],
    ["an unknown command", ["rnu"], /unknown command 'rnu'/],
    ["a recording that is not there", ["replay", "/nonexistent.jsonl"], /no such file/],
  ])("%s", (_what, args, message) => {
    const { status, stdout, stderr } = uvfio(...args);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n").length).toBeLessThanOrEqual(2);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });
});
