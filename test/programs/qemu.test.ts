import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { UVFIO } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";

const QEMU = "/usr/bin/qemu-system-x86_64";
/** A folder that scripts/debian-package.sh unpacked QEMU 10 into, with the libraries that it needs. */
const NEWER = process.env.UVFIO_NEWER_QEMU ?? "";
const hasKvm = existsSync("/dev/kvm");

/** How long firmware may take to place the BARs, in half seconds. */
const PATIENCE = 80;

/**
 * Runs QEMU under uvfio, waits until its firmware has placed the BARs of what is passed through, gives it monitor commands, and returns
 * all that it wrote.
 */
async function qemu(
  accelerator: string,
  args: readonly string[],
  commands: readonly string[],
  program: readonly string[] = [QEMU],
): Promise<string> {
  const machine = ["-accel", accelerator, "-m", "64", "-display", "none", "-monitor", "stdio", "-net", "none"];
  const child = spawn(process.execPath, [UVFIO, "run", "-m", "lab", "--", ...program, ...machine, ...args]);
  let output = "";
  const read = (chunk: Buffer) => {
    output += chunk.toString("latin1");
  };
  child.stdout.on("data", read);
  child.stderr.on("data", read);
  const closed = new Promise((resolve) => child.once("close", resolve));
  for (let tries = 0; tries < PATIENCE && child.exitCode === null && !arePlaced(output); tries++) {
    child.stdin.write("info pci\n");
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  for (const command of [...commands, "quit"]) child.stdin.write(`${command}\n`);
  await closed;
  return clean(output);
}

/** Without what the monitor writes to edit its line. */
function clean(output: string): string {
  return output.replaceAll("\u001b[K", "").replaceAll("\u001b[D", "").replaceAll("\r", "");
}

/** Whether in the last answer to "info pci" every passed-through device has its BAR 0. */
function arePlaced(output: string): boolean {
  const answer = clean(output).split("info pci\n").at(-1)!;
  const devices = answer.split(/ {2}Bus +\d/).filter((device) => /1234:11e8|8086:2021/.test(device));
  return devices.length > 0 && devices.every((device) => /BAR0: .* at 0xf[0-9a-f]{7} /.test(device));
}

const mayLockGuest = mayLock(64, "QEMU");

describe.skipIf(!existsSync(QEMU) || !mayLockGuest)("QEMU (needs Debian's qemu-system-x86)", () => {
  test("realizes edu and ioat, its firmware places their BARs, and memory is mapped", async () => {
    const output = await qemu(
      "tcg",
      ["-device", "vfio-pci,host=0000:03:00.0", "-device", "vfio-pci,host=0000:01:00.0"],
      ["info qtree"],
    );
    expect(output).toMatch(/dev: vfio-pci, id ""[\s\S]*host = "0000:03:00\.0"/);
    expect(output).toMatch(/PCI device 1234:11e8\n[\s\S]*?BAR0: 32 bit memory at 0xf[0-9a-f]{7} /);
    expect(output).toMatch(/PCI device 8086:2021\n[\s\S]*?BAR0: 64 bit memory at 0xf[0-9a-f]{7} /);
    expect(output).not.toMatch(/VFIO_IOMMU_MAP_DMA = E|vfio_dma_map|failed to/i);
  });

  test("works with a q35 machine that has a virtual IOMMU", async () => {
    const machine = ["-M", "q35,kernel-irqchip=split", "-device", "intel-iommu,caching-mode=on"];
    const output = await qemu("tcg", [...machine, "-device", "vfio-pci,host=0000:03:00.0"], []);
    expect(output).toMatch(/PCI device 1234:11e8\n[\s\S]*?BAR0: 32 bit memory at 0xf[0-9a-f]{7} /);
  });

  test("works in its own sandbox", async () => {
    const sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
    const output = await qemu("tcg", ["-sandbox", sandbox, "-device", "vfio-pci,host=0000:03:00.0"], []);
    expect(output).toMatch(/PCI device 1234:11e8\n[\s\S]*?BAR0: 32 bit memory at 0xf[0-9a-f]{7} /);
  });

  test.skipIf(!hasKvm)("works with KVM (needs /dev/kvm)", async () => {
    const output = await qemu("kvm", ["-device", "vfio-pci,host=0000:03:00.0"], []);
    expect(output).toMatch(/PCI device 1234:11e8\n[\s\S]*?BAR0: 32 bit memory at 0xf[0-9a-f]{7} /);
    expect(output).not.toMatch(/Failed to add|EBUSY/);
  });

  test("says itself that a device is not there", async () => {
    expect(await qemu("tcg", ["-device", "vfio-pci,host=0000:09:00.0"], [])).toContain("no such host device");
  });
});

describe.skipIf(NEWER === "" || !mayLockGuest)("QEMU 10 (needs UVFIO_NEWER_QEMU, see .ci/run)", () => {
  const libraries = `${NEWER}/usr/lib/x86_64-linux-gnu`;
  const data = ["-L", `${NEWER}/usr/share/qemu`, "-L", `${NEWER}/usr/share/seabios`];
  const program = [
    ...["/usr/bin/env", `QEMU_MODULE_DIR=${libraries}/qemu`],
    `${libraries}/ld-linux-x86-64.so.2`,
    ...["--library-path", libraries, `${NEWER}/usr/bin/qemu-system-x86_64`, ...data],
  ];

  test("works through an iommufd and the devices' own nodes", async () => {
    const iommufd = ["-object", "iommufd,id=iommufd0"];
    const device = (bdf: string) => ["-device", `vfio-pci,host=${bdf},iommufd=iommufd0`];
    const output = await qemu("tcg", [...iommufd, ...device("0000:03:00.0"), ...device("0000:01:00.0")], [], program);
    expect(output).toMatch(/PCI device 1234:11e8\n[\s\S]*?BAR0: 32 bit memory at 0xf[0-9a-f]{7} /);
    expect(output).toMatch(/PCI device 8086:2021\n[\s\S]*?BAR0: 64 bit memory at 0xf[0-9a-f]{7} /);
    // as on a kernel: an iommufd maps memory only, and QEMU goes on without access from device to device
    expect(output).toMatch(
      /IOMMU_IOAS_MAP = EFAULT: .* is not memory but a device's registers, which an iommufd cannot map/,
    );
    expect(output).not.toMatch(/VFIO_IOMMU_MAP_DMA|vfio-pci,host/);
  });
});
