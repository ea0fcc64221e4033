import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, ROOT, scratchFolder, UVFIO } from "../cli/uvfio.ts";
import { mayLock } from "../locked-memory.ts";
import { guestImage } from "./guest-image.ts";

/** What scripts/guest-kernels.sh made: kernels, busybox, and QEMU where it is not installed. */
const FOLDER = process.env.UVFIO_NVME_GUESTS ?? "";
const PORTS = ["0000:01:00.0", "0000:02:00.0"];
const MODULES = ["dca", "i2c-algo-bit", "igb"];

const scratch = scratchFolder();
afterAll(() => scratch.remove());

/** Takes an address, waits for the other guest, pings it, and stays until that one must have done the same. */
function script(own: number, other: number): string {
  return `
${MODULES.map((name) => `insmod /${name}.ko`).join("\n")}
sleep 1
ip addr add 10.0.0.${own}/24 dev eth0
ip link set eth0 up
for i in $(seq 60); do ping -c 1 -W 1 10.0.0.${other} >/dev/null 2>&1 && break; done
echo "link $(cat /sys/class/net/eth0/speed) $(cat /sys/class/net/eth0/address)"
ping -c 5 -W 5 10.0.0.${other}
ping -c 5 -W 5 -s 4000 10.0.0.${other}
sleep 5
echo "counted $(cat /sys/class/net/eth0/statistics/rx_errors) $(cat /sys/class/net/eth0/statistics/rx_dropped)"
dmesg | grep 'igb 0000'
`;
}

describe.skipIf(FOLDER === "" || !existsSync(join(FOLDER, "amd64")) || !mayLock(256, "Linux guests"))(
  "Linux guests with their own driver (needs UVFIO_NVME_GUESTS)",
  () => {
    test("two guests, a port each, reach each other", { timeout: 400_000 }, () => {
      const host = join(scratch.path, "pair.yaml");
      // QEMU gives its guest every single access then, so that what reading clears is cleared
      const port = (index: number, options: string) =>
        `  - { id: ${index + 1}, devices: [{ bdf: "${PORTS[index]}", id: "8086:10c9", model: igb, mmap: false${options} }] }\n`;
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
        const folder = join(scratch.path, `guest${index}`);
        mkdirSync(folder);
        const { kernel, initrd } = guestImage(join(FOLDER, "amd64"), MODULES, script(index + 1, 2 - index), folder);
        return `${qemu} -accel tcg -M q35 -m 256 -net none -no-reboot -display none -monitor none -device vfio-pci,host=${bdf} -serial file:${folder}/console -kernel ${kernel} -initrd ${initrd} -append "console=ttyS0 quiet"`;
      });
      const run = finished(
        process.execPath,
        [UVFIO, "run", "-m", host, "--", "sh", "-c", `${commands.join(" & ")} & wait`],
        { cwd: ROOT, timeout: 380_000 },
      );
      for (const index of [0, 1]) {
        const output = readFileSync(join(scratch.path, `guest${index}/console`), "utf8").replaceAll("\r", "");
        expect(output, run.stderr).toMatch(/^link 1000 02:00:00:0[12]:00:00$/m);
        expect(output.match(/5 packets transmitted, 5 packets received, 0% packet loss/g), output).toHaveLength(2);
        expect(output).toMatch(/^counted 0 0$/m);
      }
      expect(run.stderr).not.toMatch(/DMA (read|write) .* faults/);
    });
  },
);
