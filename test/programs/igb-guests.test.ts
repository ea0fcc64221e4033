import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, ROOT, scratchFolder, UVFIO } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";
import { guestImage } from "./guest-image.ts";

/** What scripts/guest-kernels.sh made: kernels, busybox, and QEMU where it is not installed. */
const FOLDER = process.env.UVFIO_NVME_GUESTS ?? "";
const PORTS = ["0000:01:00.0", "0000:02:00.0"];
const CARDS = [
  { model: "igb", id: "8086:10c9", modules: ["dca", "i2c-algo-bit", "igb"] },
  { model: "e1000e", id: "8086:10d3", modules: ["e1000e"] },
];
/** What one guest sends the other by TCP, in packets that the port cuts. */
const BULK = "yes 0123456789 | head -c 4000000";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

/**
 * Takes an address, waits for the other guest, pings it, and sends it much, or takes that; stays until the other one
 * must have done the same.
 */
function script(own: number, other: number, modules: readonly string[]): string {
  const bulk =
    own === 1 ? "timeout 100 nc -l -p 5000 | md5sum" : `sleep 3; ${BULK} | timeout 90 nc 10.0.0.${other} 5000`;
  return `
${modules.map((name) => `insmod /${name}.ko`).join("\n")}
sleep 1
ip addr add 10.0.0.${own}/24 dev eth0
ip link set eth0 up
for i in $(seq 60); do ping -c 1 -W 1 10.0.0.${other} >/dev/null 2>&1 && break; done
echo "link $(cat /sys/class/net/eth0/speed) $(cat /sys/class/net/eth0/address)"
ping -c 5 -W 5 10.0.0.${other}
ping -c 5 -W 5 -s 4000 10.0.0.${other}
${bulk}
sleep 5
echo "counted $(cat /sys/class/net/eth0/statistics/rx_errors) $(cat /sys/class/net/eth0/statistics/rx_dropped)"
dmesg | grep -E '(igb|e1000e) 0000'
`;
}

describe.skipIf(FOLDER === "" || !existsSync(join(FOLDER, "amd64")) || !mayLock(512, "Linux guests"))(
  "Linux guests with their own driver (needs UVFIO_NVME_GUESTS)",
  () => {
    test.each(CARDS)("two guests, a port of $model each, reach each other", { timeout: 500_000 }, (card) => {
      const { model, id, modules } = card;
      const host = join(scratch.path, `${model}.yaml`);
      // QEMU gives its guest every single access then, so that what reading clears is cleared
      const port = (index: number, options: string) =>
        `  - { id: ${index + 1}, devices: [{ bdf: "${PORTS[index]}", id: "${id}", model: ${model}, mmap: false${options} }] }\n`;
      writeFileSync(
        host,
        `name: pair\niommu: { model: intel-vtd, address_bits: 39 }\ngroups:\n${port(0, `, options: { link: "${PORTS[1]}" }`)}${port(1, "")}`,
      );
      const own = join(FOLDER, "qemu/usr/bin/qemu-system-x86_64");
      const qemu = existsSync(own)
        ? [own, "-L", join(FOLDER, "qemu/usr/share/qemu"), "-L", "/usr/share/qemu", "-L", "/usr/share/seabios"].join(
            " ",
          )
        : "qemu-system-x86_64";
      const commands = PORTS.map((bdf, index) => {
        const folder = join(scratch.path, `${model}${index}`);
        mkdirSync(folder);
        const { kernel, initrd } = guestImage(
          join(FOLDER, "amd64"),
          modules,
          script(index + 1, 2 - index, modules),
          folder,
        );
        return `${qemu} -accel tcg -M q35 -m 256 -net none -no-reboot -display none -monitor none -device vfio-pci,host=${bdf} -serial file:${folder}/console -kernel ${kernel} -initrd ${initrd} -append "console=ttyS0 quiet"`;
      });
      const run = finished(
        process.execPath,
        [UVFIO, "run", "-m", host, "--", "sh", "-c", `${commands.join(" & ")} & wait`],
        { cwd: ROOT, timeout: 480_000 },
      );
      const sum = execFileSync("sh", ["-c", `${BULK} | md5sum`], { encoding: "utf8" }).trim();
      for (const index of [0, 1]) {
        const output = readFileSync(join(scratch.path, `${model}${index}/console`), "utf8").replaceAll("\r", "");
        expect(output, run.stderr).toMatch(/^link 1000 02:00:00:0[12]:00:00$/m);
        expect(output.match(/5 packets transmitted, 5 packets received, 0% packet loss/g), output).toHaveLength(2);
        expect(output).toMatch(/^counted 0 0$/m);
        if (index === 0) expect(output).toContain(sum);
      }
      expect(run.stderr).not.toMatch(/DMA (read|write) .* faults/);
    });
  },
);
