import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { scratchFolder } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";
import { guestImage } from "./guest-image.ts";
import { NEWER, newerQemu, TwoQemus } from "./two-qemus.ts";

/** What scripts/guest-kernels.sh made. */
const GUESTS = process.env.UVFIO_NVME_GUESTS ?? "";
const FILES = join(GUESTS, "amd64");

const CARDS = [
  { model: "igb", id: "8086:10c9", modules: ["dca", "i2c-algo-bit", "igb"] },
  { model: "e1000e", id: "8086:10d3", modules: ["e1000e"] },
];

function network(modules: readonly string[], own: number): string {
  return `
${modules.map((name) => `insmod /${name}.ko`).join("\n")}
sleep 1
ip addr add 10.0.0.${own}/24 dev eth0
ip link set eth0 up
`;
}

/** Sends much to the other guest, which gives it back, and pings it, again and again. */
const MOVES = `
for i in $(seq 60); do ping -c 1 -W 1 10.0.0.2 >/dev/null 2>&1 && break; done
i=0
while :; do
  yes "round $i" | head -c 500000 > /sent
  timeout 60 nc 10.0.0.2 5000 < /sent > /back
  cmp /sent /back && echo=same || echo=DIFFERENT
  ping -c 1 -W 30 10.0.0.2 >/dev/null 2>&1 && ping=answered || ping=LOST
  echo "round $i echo $echo ping $ping errors $(cat /sys/class/net/eth0/statistics/rx_errors) link $(cat /sys/class/net/eth0/speed)"
  i=$((i + 1))
done
`;
const STAYS = `
while :; do nc -l -p 5000 -e cat; done
`;

describe.skipIf(NEWER === "" || !existsSync(FILES) || !mayLock(768, "guests of which one moves"))(
  "a guest moves from one QEMU 10 to another, and talks all the time (needs UVFIO_NEWER_QEMU, UVFIO_NVME_GUESTS)",
  () => {
    test.each(CARDS)("with its $model, to a guest that stays", { timeout: 500_000 }, async ({ model, id, modules }) => {
      const folders = [scratchFolder(), scratchFolder()] as const;
      const [moves, stays] = [
        guestImage(FILES, modules, network(modules, 1) + MOVES, folders[0].path),
        guestImage(FILES, modules, network(modules, 2) + STAYS, folders[1].path),
      ];
      // QEMU gives its guest every single access then, so that what reading clears is cleared
      const group = (bus: number, mac: string) =>
        `  - { id: ${bus}, devices: [{ bdf: "0000:0${bus}:00.0", id: "${id}", model: ${model}, mmap: false, options: { hub: net, mac: "${mac}" } }] }`;
      const devices = (bus: number) => [
        ...["-m", "256", "-append", '"console=ttyS0 quiet panic=-1"'],
        ...["-device", `vfio-pci,host=0000:0${bus}:00.0`],
      ];
      const other = [...newerQemu(), "-kernel", stays.kernel, "-initrd", stays.initrd, ...devices(3)];
      const qemus = new TwoQemus(
        folders[0].path,
        {
          runs: 1,
          groups: (bus) => [group(bus, "02:00:00:00:00:01")],
          devices,
          beside: { groups: [group(3, "02:00:00:00:00:02")], command: [...other, "-serial", "file:c.log"].join(" ") },
        },
        moves,
      );
      try {
        await qemus.connect();
        await qemus.until("a", /^round 1 /m, 200);
        const info = await qemus.migrate(120);
        expect(info, qemus.errors).toMatchObject({ status: "completed" });
        expect(info.vfio, "the port's state went over").toMatchObject({ transferred: expect.any(Number) });
        const before = qemus.log("a").match(/^round .*$/gm) ?? [];
        const last = Number(/\d+/.exec(before.at(-1)!)![0]);
        await qemus.until("b", new RegExp(`^round ${last + 3} `, "m"), 200);
        const rounds = [...before, ...(qemus.log("b").match(/^round \d+ echo .*$/gm) ?? [])];
        expect(rounds.filter((line) => !/echo same ping answered errors 0 link 1000$/.test(line))).toEqual([]);
        expect(qemus.errors).not.toMatch(/faults|internal error/);
      } finally {
        await qemus.end();
        for (const folder of folders) folder.remove();
      }
    });
  },
);
