import { existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, ROOT, scratchFolder, UVFIO, uvfio } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";
import { guestImage } from "./guest-image.ts";
import { OFFSET, PATTERN, WRITES_AND_READS_BACK } from "./nvme-script.ts";

/** What scripts/guest-kernels.sh made: kernels of four architectures, and QEMU for them. */
const FOLDER = process.env.UVFIO_NVME_GUESTS ?? "";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const SCRIPT = `
insmod /nvme-auth.ko
insmod /nvme-core.ko
insmod /nvme.ko
${WRITES_AND_READS_BACK}
dmesg | grep dma-window
`;

interface Guest {
  readonly host: string;
  readonly bdf: string;
  readonly emulator: string;
  readonly machine: readonly string[];
  readonly console: string;
  /** As QEMU's -m has it. */
  readonly memory?: string;
  /** What its kernel says of its DMA. */
  readonly says?: RegExp;
}

const pci = (bdf: string) => ["-device", `vfio-pci,host=${bdf}`];
const GUESTS: Readonly<Record<string, Guest>> = {
  amd64: {
    host: "lab",
    bdf: "0000:05:00.0",
    emulator: "qemu-system-x86_64",
    machine: ["-M", "q35", ...pci("0000:05:00.0"), "-serial", "stdio"],
    console: "ttyS0",
  },
  arm64: {
    host: "arm",
    bdf: "0000:00:06.0",
    emulator: "qemu-system-aarch64",
    machine: ["-M", "virt,gic-version=3,its=on", "-cpu", "cortex-a57", ...pci("0000:00:06.0"), "-serial", "stdio"],
    console: "ttyAMA0",
  },
  ppc64el: {
    host: "power9",
    bdf: "0001:01:00.0",
    emulator: "qemu-system-ppc64",
    machine: [
      ...["-M", "pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken", "-nodefaults"],
      ...[...pci("0001:01:00.0"), "-serial", "stdio"],
    ],
    console: "hvc0",
    // without room for more memory Linux asks for a window of 2^0 bytes, of QEMU's own disk too
    memory: "1024,slots=1,maxmem=2G",
    // the 64-bit window: 16 MiB pages of all its memory, from 2^59 on
    says: /nvme .*ibm,create-pe-dma-window\(2027\) 0 8000000 20000000 18 1f returned 0 \(liobn = 0x80000001 starting addr = 8000000 0\)/,
  },
  s390x: {
    host: "s390",
    bdf: "0013:00:00.0",
    emulator: "qemu-system-s390x",
    machine: [
      ...["-M", "s390-ccw-virtio", "-nodefaults", "-chardev", "stdio,id=c", "-device", "sclpconsole,chardev=c"],
      ...["-device", "zpci,uid=0x13,fid=0x103,target=h", "-device", "vfio-pci,host=0013:00:00.0,id=h"],
    ],
    console: "ttysclp0",
  },
};

describe.skipIf(FOLDER === "" || !mayLock(512, "Linux guests"))(
  "Linux guests with their own driver (needs UVFIO_NVME_GUESTS)",
  () => {
    test.each(Object.entries(GUESTS))(
      "%s finds the disk, and what it wrote is in the image",
      { timeout: 300_000 },
      (arch, guest) => {
        const files = join(FOLDER, arch);
        if (!existsSync(files)) return;
        const image = join(scratch.path, `${arch}.raw`);
        writeFileSync(image, "");
        truncateSync(image, 2 ** 26);
        // the ready-made host with an image in the place of its disk
        const yaml = uvfio("hosts", guest.host, "--yaml").stdout;
        const host = join(scratch.path, `${arch}.yaml`);
        const at = yaml.indexOf("model: nvme");
        writeFileSync(
          host,
          yaml.slice(0, at) + yaml.slice(at).replace(/^( +)(options:\n)/m, `$1$2$1  image: ${arch}.raw\n`),
        );
        const { kernel, initrd } = guestImage(files, ["nvme-auth", "nvme-core", "nvme"], SCRIPT, scratch.path);
        const own = join(FOLDER, "qemu/usr");
        const installed = existsSync(join(own, "bin", guest.emulator));
        const run = finished(
          process.execPath,
          [
            ...[UVFIO, "run", "-m", host, "--", installed ? join(own, "bin", guest.emulator) : guest.emulator],
            ...(installed ? ["-L", join(own, "share/qemu"), "-L", "/usr/share/qemu", "-L", "/usr/share/seabios"] : []),
            ...["-accel", "tcg", "-m", guest.memory ?? "1024", "-net", "none"],
            ...["-no-reboot", "-display", "none", "-monitor", "none"],
            ...[...guest.machine, "-kernel", kernel, "-initrd", initrd, "-append", `console=${guest.console} quiet`],
          ],
          { cwd: ROOT, timeout: 280_000 },
        );
        const output = run.stdout.replaceAll("\r", "");
        expect(output, run.stderr).toMatch(/^disk 131072 uvfio/m);
        expect(output).toMatch(/^same$/m);
        if (guest.says) expect(output, run.stderr).toMatch(guest.says);
        expect(output).toMatch(/nvme nvme0: \d+\/\d+\/\d+ default\/read\/poll queues/);
        expect(run.stderr).not.toMatch(/DMA (read|write) .* faults/);
        expect(
          readFileSync(image)
            .subarray(OFFSET, OFFSET + PATTERN.length)
            .equals(PATTERN),
        ).toBe(true);
      },
    );
  },
);
