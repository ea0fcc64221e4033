import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, scratchFolder, UVFIO, uvfio } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";
import { guestImage } from "./guest-image.ts";
import { hasWatchedRegisters } from "./watched-registers.ts";

/** QEMU 11 or newer with its libraries, a kernel and busybox, as docs/iommufd-nesting.md says. */
const FOLDER = process.env.UVFIO_NESTING_GUEST ?? "";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

/** The guest's driver copies memory by DMA when it starts, and gives the device up when that goes wrong. */
const SCRIPT = `
insmod /dca.ko
insmod /ioatdma.ko
sleep 2
dmesg | grep -i ioat
echo channels: $(ls /sys/class/dma)
echo interrupts: $(grep ioat /proc/interrupts)
rmmod ioatdma
echo done
`;

/** Runs the guest with a device behind its IOMMU; returns what it said, and what QEMU asked the iommufd for. */
function boot(device: string, iommu: string, modules: readonly string[], script: string) {
  const libraries = `${FOLDER}/usr/lib/x86_64-linux-gnu`;
  const { kernel, initrd } = guestImage(FOLDER, modules, script, scratch.path);
  const trace = join(scratch.path, "qemu.jsonl");
  const run = finished(
    process.execPath,
    [
      ...[UVFIO, "run", "-m", "lab-nesting", "--trace", trace, "--"],
      ...["/usr/bin/env", `QEMU_MODULE_DIR=${libraries}/qemu`, `${libraries}/ld-linux-x86-64.so.2`],
      ...["--library-path", libraries, `${FOLDER}/usr/bin/qemu-system-x86_64`],
      ...["-L", `${FOLDER}/usr/share/qemu`, "-L", `${FOLDER}/usr/share/seabios`],
      ...["-accel", "tcg", "-M", "q35", "-m", "256", "-net", "none", "-no-reboot"],
      ...["-display", "none", "-serial", "stdio", "-monitor", "none"],
      ...["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet intel_iommu=on,sm_on"],
      // the IOMMU first: a device that comes before it gets no nested page tables
      ...["-device", `intel-iommu,scalable-mode=on,fsts=on,aw-bits=48,intremap=off,caching-mode=on${iommu}`],
      ...["-object", "iommufd,id=i", "-device", `vfio-pci,host=${device},iommufd=i`],
    ],
    { timeout: 110_000 },
  );
  const guest = run.stdout.replaceAll("\r", "");
  expect(guest, run.stderr).toContain("done\n");
  expect(run.stderr).not.toMatch(/DMA (read|write) .* faults/);
  const calls = (request: string) => uvfio("trace", "--request", request, trace).stdout;
  return { guest, hwpts: calls("HWPT"), attaches: calls("ATTACH") };
}

const isExact = hasWatchedRegisters(scratch.path);
if (!isExact)
  console.log("the guest that uses Intel's DMA engine: skipped, writes to registers are not announced here");

describe.skipIf(FOLDER === "" || !mayLock(256, "QEMU 11 with a virtual IOMMU"))(
  "QEMU 11 with a virtual IOMMU (needs UVFIO_NESTING_GUEST)",
  () => {
    test.skipIf(!isExact)(
      "a Linux guest's own page tables translate for Intel's DMA engine",
      { timeout: 120_000 },
      () => {
        const { guest, hwpts, attaches } = boot("0000:03:00.0", "", ["dca", "ioatdma"], SCRIPT);
        expect(guest).toMatch(/channels: dma0chan0/);
        expect(guest).toMatch(/interrupts: \d+: [1-9]\d* /);
        expect(guest).not.toMatch(/[Ss]elf-test/);
        const parent = /NEST_PARENT.*out_hwpt_id=(\d+)\}\) = 0/.exec(hwpts)?.[1];
        const nested = /pt_id=(\d+).*data_type=VTD_S1.*out_hwpt_id=(\d+)\}\) = 0/.exec(hwpts);
        expect(nested?.[1]).toBe(parent);
        expect(hwpts).toMatch(new RegExp(`HWPT_INVALIDATE, \\{size=32, hwpt_id=${nested?.[2]}, .*\\) = 0`));
        expect(attaches).toMatch(new RegExp(`pt_id=${nested?.[2]}[,}].*= 0`));
      },
    );

    test("a device with PASIDs gets page tables for them", { timeout: 120_000 }, () => {
      const svm = ",device-iotlb=on,svm=on,pasid-bits=20";
      const { guest, hwpts } = boot("0000:01:00.0", svm, [], "dmesg | grep -c 'iommu group'; echo done");
      expect(guest).not.toMatch(/DMAR:.*fault/i);
      expect(hwpts).toMatch(/flags=NEST_PARENT\|DIRTY_TRACKING\|PASID, .*\) = 0/);
      expect(hwpts).toMatch(/flags=PASID, .*data_type=VTD_S1, .*\) = 0/);
    });
  },
);
