import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, openSync, readSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, scratchFolder, UVFIO, uvfio } from "../cli/uvfio.ts";

const NEWER = process.env.UVFIO_NEWER_QEMU ?? "";
const BDF = "0000:05:00.0";
const DISK = `nvme://${BDF}/1`;

const scratch = scratchFolder();
afterAll(() => scratch.remove());

/** A host file with a controller, which has these options. */
function hostFile(name: string, options: string): string {
  const path = join(scratch.path, `${name}.yaml`);
  writeFileSync(
    path,
    `name: ${name}
iommu: { model: intel-vtd, address_bits: 39 }
groups:
  - id: 1
    devices:
      - { bdf: "${BDF}", id: "1b36:0010", options: { ${options} } }
`,
  );
  return path;
}

function image(name: string, size = 2 ** 24): string {
  const path = join(scratch.path, name);
  writeFileSync(path, "");
  truncateSync(path, size);
  return path;
}

function bytesOf(path: string, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  readSync(openSync(path, "r"), bytes, 0, length, offset);
  return bytes;
}

const run = (host: string, ...program: string[]) => uvfio("run", "-m", host, "--", ...program);
const io = (host: string, ...commands: string[]) =>
  run(host, "qemu-io", "-f", "raw", ...commands.flatMap((command) => ["-c", command]), DISK);

describe.skipIf(!existsSync("/usr/bin/qemu-io"))("QEMU's own NVMe driver (needs Debian's qemu-utils)", () => {
  // it knows type1 only, and maps registers: power9 and s390 have guests that do not (nvme-guests.test.ts)
  test.each(["lab", "arm"])("is told of the disk of the ready-made host %s", (host) => {
    const devices = uvfio("hosts", host, "--yaml").stdout.split("- bdf: ");
    const bdf = devices
      .find((each) => each.includes("model: nvme"))!
      .split("\n")[0]!
      .replaceAll('"', "");
    const info = run(host, "qemu-img", "info", `nvme://${bdf}/1`);
    expect(info.stdout, info.stderr).toContain("virtual size: 64 MiB (67108864 bytes)");
  });

  test.each(["512", "4096"])("writes, reads and verifies blocks of %s bytes, and the image holds them", (lba) => {
    const path = image(`patterns-${lba}.raw`);
    const host = hostFile(`patterns-${lba}`, `image: patterns-${lba}.raw, lba: ${lba}`);
    const { stdout, status } = io(
      host,
      ...["write -P 0x5a 1M 3M", "write -P 0x11 4k 8k", "read -P 0x5a 1M 3M", "read -P 0x11 4k 8k", "read -P 0 0 4k"],
      ...["write -z 2M 64k", "read -P 0 2M 64k", "flush", "discard 3M 64k", "write -f -P 0x33 5M 4k"],
    );
    expect(stdout).not.toMatch(/fail|error/i);
    expect(status).toBe(0);
    expect(bytesOf(path, 2 ** 20, 2 ** 20).equals(Buffer.alloc(2 ** 20, 0x5a))).toBe(true);
    expect(bytesOf(path, 2 * 2 ** 20, 65536).equals(Buffer.alloc(65536))).toBe(true);
    expect(bytesOf(path, 4096, 8192).equals(Buffer.alloc(8192, 0x11))).toBe(true);
    expect(bytesOf(path, 5 * 2 ** 20, 4096).equals(Buffer.alloc(4096, 0x33))).toBe(true);
  });

  test("sees several namespaces, and cannot write to one that is read-only", () => {
    image("one.raw");
    image("two.raw", 2 ** 22);
    const host = hostFile(
      "several",
      "namespaces: [{ image: one.raw }, { image: two.raw, readonly: true, nsid: 3, lba: 4096 }]",
    );
    const size = (nsid: number) => run(host, "qemu-img", "info", `nvme://${BDF}/${nsid}`).stdout;
    expect(size(1)).toContain("16 MiB");
    expect(size(3)).toContain("4 MiB");
    const wrote = run(host, "qemu-io", "-f", "raw", "-c", "write 0 4k", `nvme://${BDF}/3`);
    expect(wrote.stdout + wrote.stderr).toMatch(/write failed/);
  });

  test("loses nothing that was flushed when uvfio is killed", { timeout: 60_000 }, async () => {
    const path = image("killed.raw");
    const host = hostFile("killed", "image: killed.raw");
    const commands = ["write -P 0x77 0 1M", "flush", "sleep 2000"].flatMap((command) => ["-c", command]);
    const child = spawn(process.execPath, [UVFIO, "run", "-m", host, "--", "qemu-io", "-f", "raw", ...commands, DISK]);
    for await (const chunk of child.stdout) if (String(chunk).includes("wrote")) break;
    const start = performance.now();
    while (bytesOf(path, 2 ** 20 - 1, 1)[0] !== 0x77 && performance.now() - start < 10_000)
      await new Promise((resolve) => setTimeout(resolve, 50));
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(bytesOf(path, 0, 2 ** 20).equals(Buffer.alloc(2 ** 20, 0x77))).toBe(true);
  });

  test("leaves the controller to who comes next when it is killed in the middle", () => {
    const script = `timeout -s KILL 2 qemu-img bench -w -f raw -c 100000000 -d 64 -s 65536 ${DISK}; qemu-img info ${DISK}`;
    image("middle.raw");
    const { stdout, stderr } = run(hostFile("middle", "image: middle.raw"), "sh", "-c", script);
    expect(stdout, stderr).toContain("16 MiB");
    expect(stderr).not.toContain("internal error");
  });
});

describe("an image", () => {
  test("that others use is refused in a line", async () => {
    image("locked.raw");
    const host = hostFile("locked", "image: locked.raw");
    const child = spawn(process.execPath, [UVFIO, "run", "-m", host, "--", "sh", "-c", "echo here; exec sleep 20"]);
    await once(child.stdout, "data");
    const second = run(host, "true");
    expect(second.stderr).toMatch(/^uvfio: groups\[0\]\.devices\[0\]\.options\.image: .*locked\.raw: in use by .*\n$/);
    expect(second.status).toBe(2);
    if (existsSync("/usr/bin/qemu-io")) {
      const { stderr } = finished("qemu-io", ["-f", "raw", "-c", "write 0 512", join(scratch.path, "locked.raw")]);
      expect(stderr).toContain("Is another process using the image");
    }
    child.kill("SIGTERM");
    await once(child, "exit");
    expect(run(host, "true").status).toBe(0);
  });

  test.skipIf(!existsSync("/usr/bin/qemu-storage-daemon") && !existsSync("/usr/bin/qemu-nbd"))(
    "that a QEMU has open is refused too (needs qemu-nbd)",
    async () => {
      const path = image("qemu.raw");
      const socket = join(scratch.path, "nbd.sock");
      const child = spawn("qemu-nbd", ["-f", "raw", "-k", socket, path]);
      while (!existsSync(socket) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 50));
      const second = run(hostFile("qemu", "image: qemu.raw"), "true");
      expect(second.stderr).toContain("in use by another program");
      expect(second.status).toBe(2);
      child.kill("SIGTERM");
      await once(child, "exit");
    },
  );

  test.each([
    ["absent.raw", /absent\.raw: no such file/],
    [".", /: a directory, not a file/],
    ["odd.raw", /odd\.raw: has 1000 bytes, which is no multiple of 512/],
    ["short.raw", /short\.raw: has 100 bytes, less than one block of 512/],
  ])("that is no disk is refused in a line: %s", (name, message) => {
    image("odd.raw", 1000);
    image("short.raw", 100);
    const { status, stderr } = run(hostFile("bad", `image: ${name}`), "true");
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd()).not.toContain("\n");
    expect(status).toBe(2);
  });

  test("is not written to by a trace that is replayed", () => {
    if (!existsSync("/usr/bin/qemu-io")) return;
    const path = image("traced.raw");
    const host = hostFile("traced", "image: traced.raw");
    const trace = join(scratch.path, "traced.jsonl");
    const args = ["qemu-io", "-f", "raw", "-c", "write -P 9 0 64k", DISK];
    expect(uvfio("run", "-q", "-m", host, "--trace", trace, "--", ...args).status).toBe(0);
    spawnSync("dd", ["if=/dev/zero", `of=${path}`, "bs=1M", "count=1", "conv=notrunc"]);
    expect(uvfio("replay", trace).stdout).toMatch(/\d+ operations|different|equal/);
    expect(bytesOf(path, 0, 65536).equals(Buffer.alloc(65536))).toBe(true);
  });
});

describe.skipIf(NEWER === "")("QEMU 10's driver (needs UVFIO_NEWER_QEMU, see .ci/run)", () => {
  test("writes and verifies", () => {
    const libraries = `${NEWER}/usr/lib/x86_64-linux-gnu`;
    const { stdout, stderr, status } = run(
      "lab",
      ...["/usr/bin/env", `QEMU_MODULE_DIR=${libraries}/qemu`, `${libraries}/ld-linux-x86-64.so.2`],
      ...["--library-path", libraries, `${NEWER}/usr/bin/qemu-io`, "-f", "raw"],
      ...["-c", "write -P 0x5a 1M 3M", "-c", "read -P 0x5a 1M 3M", DISK],
    );
    expect(stdout, stderr).toContain("read 3145728/3145728 bytes");
    expect(status).toBe(0);
  });
});
