import { createHash } from "node:crypto";
import { existsSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { scratchFolder } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";
import { guestImage } from "./guest-image.ts";
import { NEWER, TwoQemus } from "./two-qemus.ts";

/** What scripts/guest-kernels.sh made. */
const GUESTS = process.env.UVFIO_NVME_GUESTS ?? "";
const FILES = join(GUESTS, "amd64");

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const MEBIBYTE = 2 ** 20;
const DISK = 64 * MEBIBYTE;
/** Where the disk has a word that ends the guest. */
const STOP = DISK - 65536;
/** Memory of the guest that its kernel leaves alone. */
const PAGE = 0x1800_0000;

/**
 * In each round the disk is written and read back, and what edu's buffer has from the round before is fetched by DMA
 * and compared; a migration may come in between anywhere.
 */
const SCRIPT = `
insmod /nvme-auth.ko
insmod /nvme-core.ko
insmod /nvme.ko
sleep 2
edu=$(grep -l 0x11e8 /sys/bus/pci/devices/*/device)
edu=\${edu%/device}
echo 1 > $edu/enable
printf '\\006' | dd of=$edu/config bs=1 seek=4 conv=notrunc 2>/dev/null
bar=$(head -n 1 $edu/resource | cut -d ' ' -f 1)
at() { printf 0x%x $(( $1 + $2 )); }
put() { devmem $(at $bar $1) 64 $2; }
copy() { put 0x80 $1; put 0x88 $2; put 0x90 8; put 0x98 $3; }
echo "disk $(cat /sys/block/nvme0n1/size) edu $(devmem $bar 32)"
token=0x1
devmem ${PAGE} 64 $token
copy ${PAGE} 0x40000 1
i=0
while :; do
  yes "round $i" | dd of=/pattern bs=64k count=16 iflag=fullblock 2>/dev/null
  dd if=/pattern of=/dev/nvme0n1 bs=64k seek=$(( (i % 8) * 16 )) conv=fsync 2>/dev/null
  echo 3 > /proc/sys/vm/drop_caches
  dd if=/dev/nvme0n1 of=/back bs=64k skip=$(( (i % 8) * 16 )) count=16 2>/dev/null
  cmp /pattern /back && disk=same || disk=DIFFERENT
  copy 0x40000 $(at ${PAGE} 64) 3
  [ $(( $(devmem $(at ${PAGE} 64) 64) )) = $(( token )) ] && edu=same || edu=DIFFERENT
  token=$(( (i + 2) * 65537 ))
  devmem ${PAGE} 64 $token
  copy ${PAGE} 0x40000 1
  echo "round $i disk $disk edu $edu"
  i=$((i + 1))
  dd if=/dev/nvme0n1 bs=64k skip=${STOP / 65536} count=1 2>/dev/null | grep -q "^stop" && break
done
echo "sum $(md5sum < /dev/nvme0n1)"
dmesg | grep -i "nvme nvme0\\|i/o error"
`;

/** @param disk options of the disk on both sides */
function groups(bus: number, disk: string): readonly string[] {
  return [
    `  - { id: ${2 * bus}, devices: [{ bdf: "0000:0${bus}:00.0", id: "1b36:0010", model: nvme, options: ${disk} }] }`,
    `  - { id: ${2 * bus + 1}, devices: [{ bdf: "0000:0${bus}:01.0", id: "1234:11e8" }] }`,
  ];
}

function devices(bus: number): readonly string[] {
  return [
    ...["-m", "512", "-append", `"console=ttyS0 quiet panic=-1 memmap=1M\\$0x${PAGE.toString(16)}"`],
    ...["-device", `vfio-pci,host=0000:0${bus}:00.0,id=disk`, "-device", `vfio-pci,host=0000:0${bus}:01.0,id=edu`],
  ];
}

const isReady = NEWER !== "" && existsSync(FILES) && mayLock(256, "a guest that moves");

describe.skipIf(!isReady)(
  "a guest moves from one QEMU 10 to another (needs UVFIO_NEWER_QEMU, UVFIO_NVME_GUESTS)",
  () => {
    test.each<[string, { readonly runs: 1 | 2; readonly disk: string }]>([
      [
        "within one uvfio run, its disk an image that both have",
        { runs: 1, disk: "{ image: disk.raw, shared: true }" },
      ],
      ["from one uvfio run to another, its disk in memory", { runs: 2, disk: "{ size: 64M }" }],
    ])("%s, while it uses the disk and edu", { timeout: 400_000 }, async (_, { runs, disk: options }) => {
      const folder = scratchFolder();
      const disk = join(folder.path, "disk.raw");
      writeFileSync(disk, "");
      truncateSync(disk, DISK);
      const image = guestImage(FILES, ["nvme-auth", "nvme-core", "nvme"], SCRIPT, folder.path);
      const ends = { runs, groups: (bus: number) => groups(bus, options), devices };
      const qemus = new TwoQemus(folder.path, ends, image);
      try {
        await qemus.connect();
        await qemus.until("a", /^round 1 /m, 120);
        const info = await qemus.migrate(120);
        expect(info, qemus.errors).toMatchObject({ status: "completed" });
        expect(info.vfio, "the devices' state went over").toMatchObject({ transferred: expect.any(Number) });
        const before = qemus.log("a").match(/^round .*$/gm) ?? [];
        const last = Number(/\d+/.exec(before.at(-1)!)![0]);
        await qemus.until("b", new RegExp(`^round ${last + 4} `, "m"), 120);
        const rounds = [...before, ...(qemus.log("b").match(/^round \d+ disk .*$/gm) ?? [])];
        expect(rounds.filter((line) => !/disk same edu same$/.test(line))).toEqual([]);
        expect(qemus.errors).not.toMatch(/faults|internal error/);
        if (runs === 1) {
          const stop = openSync(disk, "r+");
          writeSync(stop, "stop", STOP);
          await qemus.until("b", /^sum [0-9a-f]{32}/m, 120);
          const sum = /^sum ([0-9a-f]{32})/m.exec(qemus.log("b"))![1];
          expect(sum).toBe(createHash("md5").update(readFileSync(disk)).digest("hex"));
          expect(qemus.log("b")).not.toMatch(/i\/o error/i);
        }
      } finally {
        await qemus.end();
        folder.remove();
      }
    });
  },
);
