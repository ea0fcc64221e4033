import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, ROOT, scratchFolder } from "../cli/uvfio.ts";
import { whileServed } from "./device-servers.ts";
import { guestImage } from "./guest-image.ts";
import { OFFSET, PATTERN, WRITES_AND_READS_BACK } from "./nvme-script.ts";

/** QEMU 11 or newer with its libraries, a kernel and busybox (docs/iommufd-nesting.md). */
const FOLDER = process.env.UVFIO_NESTING_GUEST ?? "";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

function boot(sockets: readonly string[], modules: readonly string[], script: string): string {
  const libraries = `${FOLDER}/usr/lib/x86_64-linux-gnu`;
  const { kernel, initrd } = guestImage(FOLDER, modules, script, scratch.path);
  const run = finished(
    `${libraries}/ld-linux-x86-64.so.2`,
    [
      ...["--library-path", libraries, `${FOLDER}/usr/bin/qemu-system-x86_64`],
      ...["-L", `${FOLDER}/usr/share/qemu`, "-L", `${FOLDER}/usr/share/seabios`],
      ...["-accel", "tcg", "-M", "q35,memory-backend=m", "-m", "512", "-net", "none", "-no-reboot"],
      ...["-object", "memory-backend-memfd,id=m,size=512M,share=on"],
      ...["-display", "none", "-serial", "stdio", "-monitor", "none"],
      ...["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet memmap=2M$0x8000000"],
      ...sockets.flatMap((path) => [
        "-device",
        JSON.stringify({ driver: "vfio-user-pci", socket: { type: "unix", path } }),
      ]),
    ],
    { timeout: 150_000, env: { ...process.env, QEMU_MODULE_DIR: `${libraries}/qemu` } },
  );
  const guest = run.stdout.replaceAll("\r", "");
  expect(guest, run.stderr).toContain("done\n");
  return guest;
}

const NVME = `
insmod /nvme-auth.ko
insmod /nvme-keyring.ko
insmod /nvme-core.ko
insmod /nvme.ko
${WRITES_AND_READS_BACK}grep nvme /proc/interrupts
echo done
`;

/** Uses devices without drivers, with memory that the kernel leaves alone. */
const REGISTERS = `
for d in /sys/bus/pci/devices/*; do
  case $(cat $d/vendor)$(cat $d/device) in 0x12340x11e8) edu=$d;; 0x12340x0add) adder=$d;; esac
done
start() {
  echo 1 > $1/enable
  printf '\\006\\000' | dd of=$1/config bs=1 seek=4 conv=notrunc 2>/dev/null
  b=$(head -n 1 $1/resource | cut -d' ' -f1)
}
set64() { devmem $((b + $1)) 64 $2; }
set32() { devmem $((b + $1)) 32 $2; }
read32() { devmem $((b + $1)) 32; }
start $edu
echo "edu $(devmem $b 32)"
set32 8 6
echo "factorial $(devmem $((b + 8)) 32)"
devmem 0x8000000 64 0x1122334455667788
set64 0x80 0x8000000; set64 0x88 0x40000; set64 0x90 8; set32 0x98 1
set64 0x80 0x40000; set64 0x88 0x8001000; set32 0x98 3
# writes are posted: a read waits for them
read32 0x98 > /dev/null
echo "moved $(devmem 0x8001000 64)"
start $adder
echo "adder $(devmem $b 32)"
devmem 0x8000100 32 20
devmem 0x8000104 32 21
set64 8 0x8000100; set32 0x10 2; set32 0x14 1
echo "sum $(devmem $((b + 0x18)) 32)"
echo done
`;
/** The device of docs/device.md. */
const ADDER = /<!-- file: adder.mjs -->\n```js\n([\s\S]*?)```/.exec(
  readFileSync(join(ROOT, "docs/device.md"), "utf8"),
)![1]!;

describe.skipIf(FOLDER === "")("QEMU 11 as the client of a device server (needs UVFIO_NESTING_GUEST)", () => {
  test("a Linux guest's nvme driver finds the disk, and what it wrote is in the image", {
    timeout: 200_000,
  }, async () => {
    const image = join(scratch.path, "disk.raw");
    writeFileSync(image, "");
    truncateSync(image, 2 ** 26);
    const host = join(scratch.path, "host.yaml");
    writeFileSync(
      host,
      `name: served
iommu: { model: intel-vtd, address_bits: 39 }
groups:
  - id: 1
    devices:
      - { bdf: "0000:01:00.0", id: "1b36:0010", options: { image: disk.raw } }
`,
    );
    const { value, said } = await whileServed(scratch.path, host, "0000:01:00.0", (socket) =>
      boot([socket], ["nvme-auth", "nvme-keyring", "nvme-core", "nvme"], NVME),
    );
    expect(value, said).toMatch(/^disk 131072 uvfio/m);
    expect(value).toMatch(/^same$/m);
    expect(value).toMatch(/nvme nvme0: \d+\/\d+\/\d+ default\/read\/poll queues/);
    expect(said).not.toMatch(/DMA (read|write) .* faults|given up/);
    expect(
      readFileSync(image)
        .subarray(OFFSET, OFFSET + PATTERN.length)
        .equals(PATTERN),
    ).toBe(true);
  });

  test("registers and DMA of edu, and of somebody's own model", { timeout: 200_000 }, async () => {
    writeFileSync(join(scratch.path, "adder.mjs"), ADDER);
    const host = join(scratch.path, "own.yaml");
    writeFileSync(
      host,
      `name: own
iommu: { model: intel-vtd, address_bits: 39 }
groups:
  - id: 1
    devices:
      - { bdf: "0000:01:00.0", id: "1234:0add", model: ./adder.mjs, options: { start: 7 } }
`,
    );
    const { value, said } = await whileServed(scratch.path, "lab", "0000:03:00.0", (edu) =>
      whileServed(scratch.path, host, "0000:01:00.0", (adder) => boot([edu, adder], [], REGISTERS)),
    );
    const guest = value.value;
    expect(guest, said).toMatch(/^edu 0x010000ED$/m);
    expect(guest).toMatch(/^factorial 0x000002D0$/m);
    expect(guest).toMatch(/^moved 0x1122334455667788$/m);
    expect(guest, value.said).toMatch(/^adder 0x00000ADD$/m);
    expect(guest).toMatch(/^sum 0x00000030$/m);
    expect(said + value.said).not.toMatch(/faults|given up/);
  });
});
